# SPDX-License-Identifier: Apache-2.0
"""What the controller is worth: REINFORCE against random choice, and what a score on shared weights tells.

    python -m tests.benchmarks.study --dataset_dir DATA --output_dir OUT --search_until 0.6 [--minutes 12] [--alone 4]

For each strategy and seed, a search of the same budget (further arguments are passed to it; those that have a result of
the same command in the output folder are not run again). Prints and writes as ``study.json``, mean over seeds: the
children's mean reward in every quarter of the episodes, the entropy at the end, the final Dice on the test cases, and
for the different children of the last episode but one Kendall's tau between their rewards and their scores on all
reward cases with the same shared weights, and between these and their scores an episode later. With ``--alone``, so
many of those children, and the base network, are also trained alone from new weights for ``--steps`` steps each, and
tau is told between that and the scores on shared weights. With ``--together`` the strategies of a seed run at once,
with one thread each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from scipy.stats import kendalltau

from monai_ronas.handlers import read_history
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture
from tests.benchmarks.contender import SEARCH, settings
from tests.benchmarks.runs import command, read_result, run
from tests.benchmarks.training import score, train


def quarters(history: list[dict[str, Any]]) -> list[float]:
    """Mean reward of the children in each quarter of the search."""
    rewards = np.array([np.nan if line["reward"] is None else line["reward"] for line in history])
    return [float(np.nanmean(part)) for part in np.array_split(rewards, 4)]


def alone(content: Any, child: Architecture, *, steps: int) -> float:
    """The score on all reward cases after training from new weights."""
    supernet = content("network")
    supernet.select(child)  # tells the crops their patch
    torch.manual_seed(0)
    network = RonasSuperNet(supernet.space, **supernet.kwargs)
    network = network.to(content("device"), memory_format=torch.channels_last_3d)
    network.select(child)
    inferer = PadToStrideInferer(amp=content("settings").amp)
    optimizer = type(content("optimizer"))(network.parameters(), lr=content("learning_rate"))
    train(content, network, inferer, minutes=0.0, steps=steps, optimizer=optimizer)
    return float(score(content, network, inferer, "reward")["mean_dice"])


def of_search(given: argparse.Namespace, rest: list[str], folder: Path, seed: int) -> dict[str, Any]:
    """Figures of one finished search."""
    search = folder / "search"
    history = read_history(search / "history.jsonl")
    ends = sorted(p for p in (search / "checkpoints").glob("episode_*.pt") if "_part_" not in p.name)[-2:]
    earlier, newest = ends[0], ends[-1]
    lines = {line["id"]: line for line in history if line["episode"] == int(earlier.stem.removeprefix("episode_"))}
    children = [Architecture(line["architecture"]) for line in lines.values()]
    workflow = ConfigWorkflow(
        str(SEARCH),
        dataset_dir=given.dataset_dir,
        output_dir=str(search),
        seed=seed,
        slice_steps=35,
        **settings(rest),
    )
    workflow.initialize()
    content = workflow.parser.get_parsed_content
    network = content("network")
    inferer = PadToStrideInferer(amp=content("settings").amp)

    def scores(state: dict[str, Any]) -> list[float]:
        network.load_state_dict(state["training"]["network"])
        found = []
        for child in children:
            network.select(child)
            found.append(float(score(content, network, inferer, "reward")["mean_dice"]))
        return found

    shared = scores(torch.load(earlier, weights_only=True))
    state = torch.load(newest, weights_only=True)
    later = scores(state)
    rewards = [np.nan if line["reward"] is None else line["reward"] for line in lines.values()]
    result = read_result(folder)
    row = {
        "quarters": quarters(history),
        "children": len(history),
        "entropy": state["engine"]["trace"][-1]["entropy"],
        "test_dice": result["mean_dice"],
        "base network kept": result["base_kept"],
        "different children": len(children),
        "tau of reward and score": float(kendalltau(rewards, shared, nan_policy="omit").statistic),
        "tau of score and score later": float(kendalltau(shared, later).statistic),
    }
    if given.alone:
        chosen = np.argsort(shared)[np.linspace(0, len(shared) - 1, given.alone).round().astype(int)]
        own = [alone(content, children[n], steps=given.steps) for n in chosen]
        row["alone"] = {children[n].id: [shared[n], value] for n, value in zip(chosen, own, strict=True)}
        row["base alone"] = alone(content, network.space.base, steps=given.steps)
        row["tau of score and training alone"] = float(kendalltau([shared[n] for n in chosen], own).statistic)
    return row


def main() -> None:
    """Run what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=["reinforce", "random"])
    parser.add_argument("--alone", type=int, default=0)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--together", action="store_true", help="the strategies of a seed at once, one thread each")
    given, rest = parser.parse_known_args()
    for seed in given.seeds:
        common = {"dataset_dir": given.dataset_dir, "minutes": given.minutes, "seed": seed}
        folders = {strategy: given.output_dir / f"{strategy}_{seed}" for strategy in given.strategies}
        commands = [
            command("search", folder, extra=["--strategy", strategy, *rest], **common)
            for strategy, folder in folders.items()
        ]
        run(commands, at_once=len(commands) if given.together else None)
    report: dict[str, list[dict[str, Any]]] = {
        strategy: [of_search(given, rest, given.output_dir / f"{strategy}_{seed}", seed) for seed in given.seeds]
        for strategy in given.strategies
    }
    for strategy, rows in report.items():
        print(strategy)
        for key in rows[0]:
            if key != "alone":
                values = np.array([row[key] for row in rows], dtype=float)
                mean = np.nanmean(values, axis=0)
                print(f"  {key:>32} {np.round(mean, 4)}  of the seeds: {np.round(values, 4).tolist()}")
    (given.output_dir / "study.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

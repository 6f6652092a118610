# SPDX-License-Identifier: Apache-2.0
"""Our search and what a person would have trained instead, for the same minutes, on cases that none of them saw.

    python -m tests.benchmarks.comparison --dataset_dir DATA --output_dir OUT [--minutes 12] [--seeds 0 1 2]

Runs the contenders one after the other (see ``contender.py``), each in a process of its own; those that have a result
of the same command in the output folder are not run again, so that a table can be made in several sittings. Further
arguments are settings of ``search.json`` for all of them, but that the networks of ``peers.py`` keep their optimiser.
Crops are augmented for none but with ``--augment true``.

Prints the table and writes ``comparison.json`` and ``comparison.md``: mean foreground Dice, difference to the search
paired by case with its standard error, parameters, steps, minutes, processor minutes, peak memory of the process, time
for a volume, all of them with predictions averaged over flips in one shot or in windows as chosen, and in one shot
without flips. A seed is a split of its own. The
standard errors are over the cases; a case that is a test case of several seeds counts as several.

Where the machine's speed changes from one hour to the next, minutes are not the same to contenders that run in turn:
with ``--together`` those of a seed run at once, with one thread each, and get less of the machine, but the same. Only
``derived`` has to wait for the search and then has the machine, with one thread, to itself.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers import PEERS
from tests.benchmarks.runs import alike, command, differences, mean_and_error, read_result, run

TITLES = {
    "search": "search, everything included",
    "base": "our base network, no search",
    "derived": "the searched network from new weights",
    **{name: peer.title for name, peer in PEERS.items()},
}
DEFAULT = ["search", "base", "derived", "dynunet_half", "dynunet_half_muon", "dynunet", "segresnet", "unet"]


def difference(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Mean difference in Dice, paired by seed and case, with its standard error."""
    paired = [differences(own["per_case"], row["per_case"]) for own, row in zip(ours, others, strict=True)]
    return "{:+.4f} +- {:.4f}".format(*mean_and_error(np.concatenate(paired)))


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The results as a table in Markdown."""
    lines = [
        "| contender | parameters | steps | minutes | CPU minutes | peak RSS | s/volume "
        "| mean foreground Dice (by class) | search minus it | s/volume, Dice and difference in one shot |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ours = found.get("search")
    for name, rows in found.items():
        mean = {
            key: np.mean([row[key] for row in rows], axis=0)
            for key in (
                "steps",
                "minutes",
                "cpu_minutes",
                "peak_rss_gb",
                "seconds_per_volume",
                "mean_dice",
                "class_dice",
            )
        }
        minus = "-"
        if ours is not None and name != "search":
            minus = difference(ours, rows)
        shots = [row["one_shot"] for row in rows]
        one_shot = "-"
        if all(shots):
            shot = {key: np.mean([row[key] for row in shots]) for key in ("seconds_per_volume", "mean_dice")}
            one_shot = f"{shot['seconds_per_volume']:.3f}, {shot['mean_dice']:.4f}"
            own_shots = [own["one_shot"] for own in ours or []]
            if minus != "-" and all(own_shots):
                one_shot += f", {difference(own_shots, shots)}"
        kept = [row["base_kept"] for row in rows if "base_kept" in row]
        title = TITLES[name] + (f" (kept the base network: {sum(kept)} of {len(kept)})" if kept else "")
        classes = " / ".join(f"{value:.4f}" for value in mean["class_dice"])
        lines.append(
            f"| {title} | {rows[0]['parameters'] / 1e6:.2f} M | {mean['steps']:.0f} | {mean['minutes']:.1f} | "
            f"{mean['cpu_minutes']:.1f} | {mean['peak_rss_gb']:.2f} GB | {mean['seconds_per_volume']:.3f} | "
            f"{mean['mean_dice']:.4f} ({classes}) | {minus} | {one_shot} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--contenders", nargs="+", default=DEFAULT, choices=list(TITLES))
    parser.add_argument("--together", action="store_true", help="those of a seed at once, one thread each")
    given, rest = parser.parse_known_args()
    rest = alike(rest)
    for seed in given.seeds:
        folder = given.output_dir / f"seed_{seed}"
        common: dict[str, Any] = {"dataset_dir": given.dataset_dir, "minutes": given.minutes, "seed": seed}
        extra = {"derived": ["--search", str(folder / "search" / "search")]}
        commands = {
            name: command(name, folder / name, extra=[*extra.get(name, []), *rest], **common)
            for name in given.contenders
        }
        last = commands.pop("derived", None)  # it needs the search's result
        for wave in (list(commands.values()), [last] if last else []):
            run(wave, at_once=max(len(wave), 1) if given.together else None)
    found = {
        name: [read_result(given.output_dir / f"seed_{seed}" / name) for seed in given.seeds]
        for name in given.contenders
    }
    text = table(found)
    print(text)
    (given.output_dir / "comparison.md").write_text(text + "\n", encoding="utf-8")
    (given.output_dir / "comparison.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

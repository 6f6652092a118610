# SPDX-License-Identifier: Apache-2.0
"""One contender of the comparison: trained for some minutes, measured once on the held-out fold.

    python -m tests.benchmarks.contender dynunet_half --dataset_dir DATA --output_dir OUT [--minutes 12]

``search`` is the whole search command. All others train on every case outside the test fold, as nothing is chosen,
with the search's crops, flips, loss, precision, memory format and allocator, and a cosine over the time of the training
alone: ``base``, the network that is planned for this time, and ``derived``, the architecture that the search in
``--search`` chose, from new
weights with the search's optimiser; the networks of ``peers.py`` with the optimiser told there. All are measured on
volumes padded at least to the size of the crops, as our bundles do it. Writes ``network.pt``, the weights, and
``result.json`` with the Dice of every test case and class, averaged over the flips of the volume, with which all were
trained, and ``one_shot`` without. ``--steps`` trains for a number of steps instead of minutes, ``--seed`` and
``--fold`` choose the split; further arguments are settings of ``search.json``, such as ``--augment true`` or
``--optimizer#_target_ torch.optim.AdamW --learning_rate 0.003``; the networks of ``peers.py`` keep their optimiser.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from fire.parser import DefaultParseValue
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch.utils.data import DataLoader

from monai_ronas.bundle.command_line import refuse_unknown_keys
from monai_ronas.data import build_dataset
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.space import Architecture
from tests.benchmarks.peers import PEERS

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"


def train(
    content: Any,
    network: torch.nn.Module,
    inferer: PadToStrideInferer,
    *,
    minutes: float,
    steps: int | None,
    optimizer: torch.optim.Optimizer,
) -> int:
    """Train ``network`` for ``minutes`` or ``steps``; returns the number of steps."""
    start = time.perf_counter()
    rates = [group["lr"] for group in optimizer.param_groups]
    trainer = SupervisedTrainer(
        device=content("device"),
        max_epochs=10**6,
        train_data_loader=content("train#dataloader"),
        network=network,
        optimizer=optimizer,
        loss_function=content("loss"),
        prepare_batch=content("train#prepare_batch"),
        inferer=inferer,
        decollate=False,
        optim_set_to_none=True,
    )

    def progress(done: int) -> float:
        return min(1.0, done / steps if steps else (time.perf_counter() - start) / (60 * minutes))

    @trainer.on(Events.ITERATION_STARTED)
    def schedule(engine):
        ramp = min(1.0, engine.state.iteration / 50)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * ramp * 0.5 * (1 + math.cos(math.pi * progress(engine.state.iteration - 1)))

    @trainer.on(Events.ITERATION_COMPLETED)
    def end(engine):
        if progress(engine.state.iteration) >= 1.0:
            engine.terminate()

    trainer.run()
    return int(trainer.state.iteration)


def score(content: Any, network: torch.nn.Module, inferer: PadToStrideInferer, cases: str = "test") -> dict[str, Any]:
    """Dice of every case and class, by the search's own evaluator settings, and the seconds for a volume."""
    listed = content("study").cases(cases)
    data = build_dataset(listed, content("validate#preprocessing"))
    evaluator = SupervisedEvaluator(
        device=content("device"),
        val_data_loader=DataLoader(data, batch_size=1),
        network=network,
        inferer=inferer,
        postprocessing=content("validate#postprocessing"),
        key_val_metric=content("validate#key_metric"),
    )
    seconds: list[float] = []
    evaluator.add_event_handler(Events.ITERATION_STARTED, lambda: seconds.append(-time.perf_counter()))
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: seconds.append(time.perf_counter()))
    evaluator.run()
    dice = evaluator.state.metric_details["val_mean_dice"]
    return {
        "seconds_per_volume": statistics.median(a + b for a, b in zip(seconds[::2], seconds[1::2], strict=True)),
        "mean_dice": float(dice.nanmean()),
        "class_dice": dice.nanmean(dim=0).tolist(),
        "per_case": dict(zip((case.name for case in listed), dice.nanmean(dim=1).tolist(), strict=True)),
    }


def search(given: argparse.Namespace, folder: Path) -> tuple[torch.nn.Module, list[int], dict[str, Any]]:
    """Run the search command; returns the network of its bundle, its patch and what it tells of its training."""
    arguments = {
        "config_file": SEARCH,
        "dataset_dir": given.dataset_dir,
        "output_dir": folder,
        "time_budget_minutes": given.minutes,
        "seed": given.seed,
        "fold": given.fold,
        "resume": "false",
    }
    command = [sys.executable, "-m", "monai.bundle", "run", "search"]
    command += [str(a) for name, value in arguments.items() for a in (f"--{name}", value)]
    begin = time.time()
    done = subprocess.run([*command, *given.overrides], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    minutes = (time.time() - begin) / 60
    (folder / "search.log").write_text(done.stdout, encoding="utf-8")
    bundle = folder / "ronas_segmentation"
    parser = ConfigParser.load_config_file(bundle / "configs" / "inference.json")
    network = ConfigParser(parser).get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    final = torch.load(folder / "checkpoints" / "final.pt", weights_only=True)
    told = {"minutes": minutes, "steps": final["steps"], "architecture": final["architecture"]}
    return network, parser["inferer"]["roi_size"], told


def by_hand(given: argparse.Namespace, content: Any) -> tuple[torch.nn.Module, PadToStrideInferer, dict[str, Any]]:
    """Train a network of one's own choice."""
    fingerprint, network = content("study").fingerprint, content("network")
    if given.contender in PEERS:
        peer = PEERS[given.contender]
        network = peer.build(fingerprint.in_channels, fingerprint.out_channels)
        network = network.to(content("device"), memory_format=torch.channels_last_3d)
        optimizer, divisor = peer.optimizer(network.parameters(), lr=peer.learning_rate), (peer.divisor,) * 3
    else:
        optimizer, divisor = content("optimizer"), None
    if given.contender == "derived":
        final = torch.load(given.search / "checkpoints" / "final.pt", weights_only=True)
        network.select(Architecture.from_json(final["architecture"]))
    patch = content("space").patch(getattr(network, "architecture", content("space").base))
    if divisor is not None:
        patch = [math.ceil(p / d) * d for p, d in zip(patch, divisor, strict=True)]
    inferer = PadToStrideInferer(divisor, amp=content("settings").amp, roi_size=patch)
    cases = content("train#dataset")  # read before the clock starts
    content("train#dataloader").sampler.data_source = cases  # reward cases as well
    begin = time.time()
    row: dict[str, Any] = {"optimizer": type(optimizer).__name__, "learning_rate": optimizer.defaults["lr"]}
    row["steps"] = train(content, network, inferer, minutes=given.minutes, steps=given.steps, optimizer=optimizer)
    row["minutes"] = (time.time() - begin) / 60
    own = network.derive(network.architecture) if hasattr(network, "derive") else network
    return own, inferer, row


def settings(words: list[str]) -> dict[str, Any]:
    """Settings of ``search.json`` as they stand on a command line, read as MONAI's command reads them."""
    return {
        name.removeprefix("--"): DefaultParseValue(value) for name, value in zip(words[::2], words[1::2], strict=True)
    }


def main() -> None:
    """Train, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=["search", "base", "derived", *PEERS])
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--search", type=Path, help="output folder of a search, for 'derived'")
    given, given.overrides = parser.parse_known_args()
    try:
        refuse_unknown_keys(["--config_file", str(SEARCH), *given.overrides])
    except ValueError as error:
        parser.error(str(error))
    if given.contender == "derived" and not (given.search and (given.search / "checkpoints" / "final.pt").is_file()):
        parser.error(f"'derived' needs a finished search in --search, none is in {given.search}: run 'search' first.")
    given.output_dir.mkdir(parents=True, exist_ok=True)
    folder = given.output_dir / "search" if given.contender == "search" else given.output_dir
    workflow = ConfigWorkflow(
        str(SEARCH),
        dataset_dir=given.dataset_dir,
        output_dir=str(folder),
        seed=given.seed,
        fold=given.fold,
        slice_steps=35,
        **{"time_budget_minutes": given.minutes, **settings(given.overrides)},
    )
    content = workflow.parser.get_parsed_content
    if given.contender == "search":
        network, patch, row = search(given, folder)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        workflow.initialize()
        inferer = PadToStrideInferer(amp=content("settings").amp, roi_size=patch)
        row["base_kept"] = Architecture.from_json(row["architecture"]) == content("space").base
    else:
        workflow.initialize()
        network, inferer, row = by_hand(given, content)
        used = resource.getrusage(resource.RUSAGE_SELF)
    row = {
        "contender": given.contender,
        "command": sys.argv[1:],
        "seed": given.seed,
        "fold": given.fold,
        "parameters": sum(p.numel() for p in network.parameters()),
        "peak_rss_gb": used.ru_maxrss / 2**20,
        "cpu_minutes": (used.ru_utime + used.ru_stime) / 60,
        **row,
    }
    torch.save(network.state_dict(), given.output_dir / "network.pt")
    network = network.to(content("device"), memory_format=torch.channels_last_3d)
    row["one_shot"] = score(content, network, inferer)
    inferer.flips = content("study").flip_axes
    row |= score(content, network, inferer)
    if inferer.max_voxels is not None:
        raise SystemExit("the memory did not suffice to measure in one shot.")
    (given.output_dir / "result.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    print({key: value for key, value in row.items() if key not in ("per_case", "one_shot")})


if __name__ == "__main__":
    main()

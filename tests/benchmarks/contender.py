# SPDX-License-Identifier: Apache-2.0
"""One contender of a comparison: trained for some minutes, measured once on the held-out fold.

    python -m tests.benchmarks.contender dynunet_half --dataset_dir DATA --output_dir OUT [--minutes 12]

``search`` is the whole search command. All others train on every case outside the test fold, as nothing is chosen, with
the search's crops, flips, loss, precision, memory format and allocator, until the minutes are over, which begin with
the process, as a search's do: verification and loading included. The learning rate falls over that time. ``base`` is
the network that is planned for this time, ``derived`` the architecture that the search in ``--search`` chose, from new
weights, ``grid`` a cell of the grid in ``grid.py``, told by ``--resolution``, ``--width`` and ``--area``,
``first_version`` the base network of version 0.1, all with the search's optimiser. The others are those of
``peers.py``, with the optimiser told there and a patch of their own.

Whether a contender segments volumes in one shot or in windows of its patch is chosen as a search chooses, on reward
cases, but after the minutes and without a limit of time; the search's own choice is in its bundle. Volumes are padded
at least to the size of the crops, as our bundles do it. Writes ``network.pt``, the weights, and ``result.json`` with
the Dice of every test case and class in the chosen way, averaged over the flips of the volume, with which all were
trained, and ``one_shot`` without flips in one shot (null where the memory did not suffice). The folder ``cache`` is
deleted in the end.

``--curve`` scores a network of the space on reward cases at a few shares of its training, as a race does
(``curves.py``); until the last of these scores it trains without them. ``--steps`` trains for a number of steps
instead of minutes, ``--seed`` and ``--fold`` choose the split; further arguments are settings of ``search.json``,
such as ``--augment true``, ``--split_seed 0`` for a split that does not depend on the seed, or ``--optimizer#_target_
torch.optim.AdamW --learning_rate 0.003``, which only networks with the search's optimiser follow.
Plans of the grid, of version 0.1 and of peers have no steps of their own, by which ``augment`` would decide: what is
compared needs the same ``--augment true`` or ``false``.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_ronas.bundle.command_line import refuse_misread_words, refuse_unknown_keys
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.space import Architecture
from tests.benchmarks.curves import LearningCurve
from tests.benchmarks.grid import RESOLUTIONS
from tests.benchmarks.peers import PEERS, cosine
from tests.benchmarks.training import draw_from_all, score, train

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"


def search(given: argparse.Namespace, folder: Path) -> tuple[torch.nn.Module, dict[str, Any], dict[str, Any]]:
    """Run the search command; returns its bundle's network and inferer and what it tells of its training."""
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
    told = {key: final[key] for key in ("steps", "architecture", "race") if key in final}
    definition = parser["network_def"]
    plan = {key: definition[key] for key in ("strides", "channels")} | {"patch": parser["inferer"]["roi_size"]}
    return network, parser["inferer"], {"minutes": minutes, "plan": plan, **told}


def by_hand(given: argparse.Namespace, content: Any) -> dict[str, Any]:
    """Train a network of one's own choice; returns what there is to tell."""
    network, optimizer = content("network"), content("optimizer")
    if given.contender == "derived":
        final = torch.load(given.search / "checkpoints" / "final.pt", weights_only=True)
        network.select(Architecture.from_json(final["architecture"]))
    curve = LearningCurve(content("controller#scorer")) if given.curve else None
    if curve is None:
        draw_from_all(content)
    inferer = PadToStrideInferer(amp=content("settings").amp, roi_size=network.patch)
    peer = PEERS.get(given.contender)
    row: dict[str, Any] = {"optimizer": type(optimizer).__name__, "learning_rate": optimizer.defaults["lr"]}
    space, architecture = network.space, network.architecture
    channels = None if peer else space.channels(architecture, content("plan").channels)
    row["plan"] = {"strides": space.strides(architecture), "channels": channels, "patch": network.patch}
    row["steps"] = train(
        content,
        network,
        inferer,
        minutes=given.minutes,
        steps=given.steps,
        optimizer=optimizer,
        schedule=peer.schedule if peer else cosine,
        curve=curve,
    )
    row["minutes"] = (time.time() - psutil.Process().create_time()) / 60
    if curve is not None:
        row["minutes"] -= curve.paused / 60
        row["curve"], row["curve_cpu_minutes"] = curve.to_dict(), curve.paused_cpu / 60
    return row


def contender_settings(given: argparse.Namespace) -> dict[str, Any]:
    """The settings of ``search.json`` that make a contender."""
    if given.contender == "search":
        return {}
    chosen: dict[str, Any] = {"controller#inference#seconds": None}
    if given.contender in PEERS:
        chosen |= PEERS[given.contender].settings(given.contender)
    elif given.contender == "grid":
        cell = {key: getattr(given, key) for key in ("resolution", "width", "area")}
        chosen["plan"] = {"_target_": "tests.benchmarks.grid.cell_plan", "fingerprint": "$@study.fingerprint", **cell}
    elif given.contender == "first_version":
        chosen["plan"] = {"_target_": "tests.benchmarks.grid.first_version_plan", "study": "@study"}
    return chosen


def settings(words: list[str]) -> dict[str, Any]:
    """Settings of ``search.json`` as they stand on a command line, read as MONAI's command reads them."""
    return {
        name.removeprefix("--"): DefaultParseValue(value) for name, value in zip(words[::2], words[1::2], strict=True)
    }


def main() -> None:
    """Train, score, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("contender", choices=["search", "base", "derived", "grid", "first_version", *PEERS])
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--search", type=Path, help="output folder of a search, for 'derived'")
    parser.add_argument("--resolution", choices=RESOLUTIONS, default="full", help="for 'grid'")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the channels, for 'grid'")
    parser.add_argument("--area", type=float, default=1.0, help="part of the median volume's area, for 'grid'")
    parser.add_argument("--curve", action="store_true", help="score on the way as a race does, beside the minutes")
    given, given.overrides = parser.parse_known_args()
    try:
        refuse_unknown_keys(["--config_file", str(SEARCH), *given.overrides])
        refuse_misread_words(given.overrides)
    except ValueError as error:
        parser.error(str(error))
    if given.curve and (given.contender == "search" or given.contender in PEERS):
        parser.error("--curve is for networks of the space.")
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
        **{"time_budget_minutes": given.minutes, **settings(given.overrides), **contender_settings(given)},
    )
    content = workflow.parser.get_parsed_content
    if given.contender == "search":
        network, bundled, row = search(given, folder)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        workflow.initialize()
        patch, windows = bundled["roi_size"], bundled["max_voxels"] == 0
        row["base_kept"] = Architecture.from_json(row["architecture"]) == content("space").base
    else:
        workflow.initialize()
        row = by_hand(given, content)
        used = resource.getrusage(resource.RUSAGE_SELF)
        network = content("network")
        patch = network.patch
        choice = content("controller#inference")(network.architecture)
        windows, row["inference"] = choice.windows, choice.reason
        network = network.derive(network.architecture) if hasattr(network, "derive") else network
    row = {
        "contender": given.contender,
        "command": sys.argv[1:],
        "seed": given.seed,
        "fold": given.fold,
        "parameters": sum(p.numel() for p in network.parameters()),
        "peak_rss_gb": used.ru_maxrss / 2**20,
        "cpu_minutes": (used.ru_utime + used.ru_stime) / 60 - row.get("curve_cpu_minutes", 0.0),
        "windows": windows,
        **row,
    }
    torch.save(network.state_dict(), given.output_dir / "network.pt")
    network = network.to(content("device"), memory_format=torch.channels_last_3d)
    inferer = PadToStrideInferer(amp=content("settings").amp, roi_size=patch)
    one_shot = score(content, network, inferer)
    row["one_shot"] = one_shot if inferer.max_voxels is None else None  # some went on in windows for want of memory
    inferer.flips, inferer.transposed_axes = content("study").flip_axes, content("study").transposed_axes
    if windows:
        inferer.max_voxels = 0
    row |= score(content, network, inferer)
    (given.output_dir / "result.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    print({key: value for key, value in row.items() if key not in ("per_case", "one_shot", "curve")})


if __name__ == "__main__":
    main()

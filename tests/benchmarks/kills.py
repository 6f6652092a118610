# SPDX-License-Identifier: Apache-2.0
"""Searches that are killed and stopped at random moments, against one that is left in peace.

    python -m tests.benchmarks.kills

Processes are forked with all imports done, so that what comes at a random moment finds the search at work. SIGKILL and
SIGTERM come by the clock; with ``--renames``, SIGKILL comes right before or after the export's change of names. Each
search is started again until it ends. After each end of a process there is no bundle or a whole one; at the end,
history and weights are those of the search in peace, to the last bit. The exit status is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from monai_ronas.bundle import replacement
from monai_ronas.data import make_phantom_dataset
from monai_ronas.handlers import read_history
from tests.commands import IMPORTS, as_main

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "episodes": 2,
    "children_per_episode": 3,
    "warmup_epochs": 1,
    "final_epochs": 5,
    "iterations_per_epoch": 4,
    "reward_cases_per_episode": 2,
    "reward_fraction": 0.3,
    "channels": [4, 6, 8],
    "device": "cpu",
    "controller#checkpoint#every_seconds": 1,
    "controller#report#share": 0,
}
BUNDLE = "ronas_segmentation"
FILES = ("configs/metadata.json", "configs/inference.json", "models/model.pt", "models/model.ts", "docs/README.md")


def start(data: Path, output: Path, before: Callable[[], None] | None = None) -> int:
    """A search in a process of its own; returns the process' id."""
    child = os.fork()
    if child:
        return child
    values = {"dataset_dir": data, "output_dir": output, **SMALL}
    words = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    config = str(ROOT / "bundles" / "ronas" / "configs" / "search.json")
    output.mkdir(exist_ok=True)
    log = os.open(output.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        if before is not None:
            before()
        as_main([sys.executable, "-m", "monai.bundle", "run", "search", "--config_file", config, *words], str(ROOT))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            os.write(2, f"{end.code}\n".encode())
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def wait(child: int, number: int | None = None, after: float = 0.0) -> int:
    """The exit status of a process, which is sent a signal after so many seconds; negative: the signal it died of."""
    end = time.monotonic() + after
    sent = number is None
    while True:
        pid, status = os.waitpid(child, 0 if sent else os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            os.kill(child, number or 0)
            sent = True
        time.sleep(0.005)


def timeless(output: Path) -> list[dict]:
    """The history without what a clock or the system's memory decides."""
    lines = read_history(output / "history.jsonl")
    return [{k: v for k, v in line.items() if k not in ("seconds", "peak_memory_mb")} for line in lines]


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Those of the bundle."""
    return torch.load(output / BUNDLE / "models" / "model.pt", weights_only=True)


def faults(output: Path, peace: Path, *, ended: bool) -> list[str]:
    """What is not as it should be in the folder of a search."""
    found = []
    if ended or (output / BUNDLE).exists():
        found += [f"the bundle lacks {name}" for name in FILES if not (output / BUNDLE / name).is_file()]
        expected = weights(peace)
        if not found and not all(torch.equal(expected[name], value) for name, value in weights(output).items()):
            found.append("other weights")
    if ended:
        found += ["another history"] * (timeless(output) != timeless(peace))
        found += [f"left over: {path.name}" for path in output.glob(f".{BUNDLE}.*")]
    return found


def kill_at_renames(side: str) -> Callable[[], None]:
    """Have the process killed on one side of the change of names."""

    def arm() -> None:
        exchange = replacement._exchange

        def killed(one: Path, other: Path) -> bool:
            if side == "after":
                exchange(one, other)
            os.kill(os.getpid(), signal.SIGKILL)
            return True

        replacement._exchange = killed

    return arm


def main() -> None:
    """Print counts and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--ends", type=int, default=4, help="SIGTERM in the last scores and the export")
    parser.add_argument("--renames", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=60.0, help="no new search after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("kills.json"))
    given = parser.parse_args()
    for name in IMPORTS:
        importlib.import_module(name)
    draw, begin = random.Random(given.seed), time.monotonic()
    counts: Counter[str] = Counter()
    told: list[str] = []

    def write() -> str:
        """What has been found so far, as JSON in the file of the output."""
        text = json.dumps({"length": round(length, 1), "counts": dict(counts), "faults": told}, indent=1)
        given.output.write_text(text + "\n", encoding="utf-8")
        return text

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "phantom"
        maker = os.fork()
        if not maker:
            make_phantom_dataset(data, num_cases=8, size=(20, 24, 16))
            os._exit(0)
        wait(maker)
        peace = root / "peace"
        since = time.monotonic()
        if wait(start(data, peace)) != 0:
            raise SystemExit(peace.with_suffix(".log").read_text())
        length = time.monotonic() - since
        left = {signal.SIGKILL: given.kills, signal.SIGTERM: given.stops}
        output = peace
        while any(left.values()) and time.monotonic() - begin < 60 * given.minutes:
            output = root / f"search_{counts['searches']}"
            ended = False
            while not ended:
                number = draw.choice([n for n, open_ in left.items() for _ in range(open_)] or [None])
                child = start(data, output)
                status = wait(child, number, draw.uniform(0.02, 1.0) * length)
                if number is not None and status != 0:
                    left[number] -= 1
                    counts[f"{number.name}, status {status}"] += 1
                if status not in (0, 75, -signal.SIGKILL, -signal.SIGTERM):
                    told.append(f"{output.name}: status {status}: {output.with_suffix('.log').read_text()[-1500:]}")
                    break
                ended = (output / "checkpoints" / "finished.json").exists()  # a kill after that is one too late
                told += [f"{output.name}: {fault}" for fault in faults(output, peace, ended=ended)]
                write()
            counts["searches"] += 1
        since = time.monotonic()
        for number in range(given.ends + 1):
            (output / "checkpoints" / "finished.json").unlink(missing_ok=True)
            after = draw.uniform(0.0, 1.0) * length
            output.with_suffix(".log").unlink(missing_ok=True)
            status = wait(start(data, output), signal.SIGTERM if number else None, after)
            if not number:
                length = time.monotonic() - since  # of scores and export alone
                continue
            log = output.with_suffix(".log")
            if "data set" not in (log.read_text() if log.exists() else ""):  # imports: nothing to save
                counts[f"SIGTERM before the search began, status {status}"] += 1
                continue
            counts[f"SIGTERM in the scores and the export, status {status}"] += 1
            if status not in (0, 75):
                told.append(f"ends: status {status}: {output.with_suffix('.log').read_text()[-1500:]}")
            told += [f"ends: {fault}" for fault in faults(output, peace, ended=status == 0)]
            write()
        for number in range(given.renames):
            (output / "checkpoints" / "finished.json").unlink(missing_ok=True)  # as before the end: export once more
            status = wait(start(data, output, kill_at_renames(("before", "after")[number % 2])))
            counts[f"SIGKILL at the change of names, status {status}"] += 1
            told += [f"renames: {fault}" for fault in faults(output, peace, ended=False)]
            write()
        if given.renames:
            told += [f"renames: status {s}" for s in [wait(start(data, output))] if s]
            told += [f"renames: {fault}" for fault in faults(output, peace, ended=True)]
    print(write())
    raise SystemExit(1 if told else 0)


if __name__ == "__main__":
    main()

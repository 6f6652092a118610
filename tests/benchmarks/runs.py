# SPDX-License-Identifier: Apache-2.0
"""Runs of contenders, each in a process and a folder of its own, and what their results have in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import sem


def command(
    name: str, folder: Path, *, dataset_dir: str, minutes: float, seed: int = 0, extra: Sequence[str] = ()
) -> list[str]:
    """How to run a contender of ``contender.py``; its result will be in ``folder``."""
    arguments = ["--dataset_dir", dataset_dir, "--output_dir", str(folder), "--minutes", str(minutes)]
    return [sys.executable, "-m", "tests.benchmarks.contender", name, *arguments, "--seed", str(seed), *extra]


def alike(settings: Sequence[str]) -> list[str]:
    """Settings with which crops are augmented for all contenders or for none: for none, unless they say so.

    By itself a search follows the steps of its plan, which fixed plans and networks made by hand do not have.

    Example:
        >>> alike(["--group", "x"]), alike(["--augment", "true"])
        (['--group', 'x', '--augment', 'false'], ['--augment', 'true'])
    """
    given = any(word.split("=")[0] == "--augment" for word in settings)
    return [*settings, *([] if given else ["--augment", "false"])]


def is_missing(words: Sequence[str]) -> bool:
    """Whether the result of a contender's command is not there yet; one of another command in its place is refused."""
    result = Path(words[words.index("--output_dir") + 1]) / "result.json"
    if not result.is_file():
        return True
    found = json.loads(result.read_text(encoding="utf-8"))["command"]
    if found != list(words[3:]):
        raise SystemExit(f"{result} is of another command ({' '.join(found)}): give another --output_dir.")
    return False


def run(commands: Sequence[list[str]], *, at_once: int | None = None) -> None:
    """Run the commands that have no result yet.

    Args:
        commands: of :func:`command`.
        at_once: how many at a time, with one thread each. Default: one after the other, with all threads.

    Raises:
        SystemExit: when one of them failed, after the others; when there is a result of another command.
    """
    missing = [words for words in commands if is_missing(words)]
    environment = None if at_once is None else {**os.environ, "OMP_NUM_THREADS": "1"}
    with ThreadPool(at_once or 1) as pool:
        codes = pool.map(lambda words: subprocess.run(words, env=environment).returncode, missing, chunksize=1)
    failed = [" ".join(words[3:]) for words, code in zip(missing, codes, strict=True) if code]
    if failed:
        raise SystemExit(f"failed, see above: {failed}")


def read_result(folder: Path) -> dict[str, Any]:
    """The result of the contender that ran in ``folder``."""
    content: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return content


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean and its standard error, without what is NaN, such as the Dice of a case without foreground.

    Example:
        >>> mean_and_error([1.0, 3.0, float("nan")])
        (2.0, 1.0)
    """
    return float(np.nanmean(values)), float(sem(values, nan_policy="omit"))


def differences(ours: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    """Dice of ours minus that of another, case by case.

    Example:
        >>> differences({"b": 0.5, "a": 1.0}, {"a": 0.25, "b": 0.5})
        [0.75, 0.0]
    """
    if set(ours) != set(other):
        raise ValueError("the two were not tested on the same cases.")
    return [ours[case] - dice for case, dice in other.items()]

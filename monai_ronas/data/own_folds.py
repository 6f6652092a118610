# SPDX-License-Identifier: Apache-2.0
"""Folds that the user gives, in the format of nnU-Net's ``splits_final.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from monai_ronas.data.errors import DatasetError

_FORM = 'a list of {"train": [...], "val": [...]} of case names, as nnU-Net\'s splits_final.json'


def read_test_cases(
    splits_file: str | os.PathLike[str], *, fold: int | None, names: Collection[str], left_out: Collection[str] = ()
) -> tuple[str, ...]:
    """Read the test cases of a fold from a file of folds.

    Args:
        splits_file: JSON, a list of ``{"train": [...], "val": [...]}`` of case names, an entry for each fold.
        fold: which entry.
        names: the cases of the data set, each of which the entry must have.
        left_out: cases of the data set with faults, which the entry may have.

    Returns:
        the cases of ``val``, sorted, without those of ``left_out``.

    Raises:
        DatasetError: one sentence, when the file or its entry cannot be used.
    """
    entries = _read(Path(splits_file))
    if isinstance(fold, bool) or not isinstance(fold, int) or not 0 <= fold < len(entries):
        raise DatasetError(
            f"fold must be 0..{len(entries) - 1}, an entry of splits_file '{splits_file}', received {fold}:"
            " without test cases, leave splits_file out."
        )
    place = f"entry {fold} of splits_file '{splits_file}'"
    entry = entries[fold]
    lists = [entry.get(use) for use in ("train", "val")] if isinstance(entry, dict) else [None]
    if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in lists):
        raise DatasetError(f"{place} must hold the lists train and val of case names: the file is {_FORM}.")
    train, val = (set(part) for part in lists if part is not None)
    known = set(names)
    for wrong, what in (
        (train & val, "has {} case(s) both in train and in val ({}): remove each from one of them"),
        ((train | val) - known - set(left_out), "has {} case(s) that the data set does not have ({}): correct them"),
        (known - train - val, "lacks {} case(s) of the data set ({}): add each to train or to val"),
    ):
        if wrong:
            shown = ", ".join(f"'{name}'" for name in sorted(wrong)[:5]) + (", ..." if len(wrong) > 5 else "")
            raise DatasetError(f"{place} {what.format(len(wrong), shown)}.")
    return tuple(sorted(val & known))


def _read(path: Path) -> list[Any]:
    if not path.is_file():
        raise DatasetError(f"splits_file '{path}' is not a file: give {_FORM}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())
        raise DatasetError(f"splits_file '{path}' cannot be read as JSON ({words}): give {_FORM}.") from error
    if not isinstance(content, list) or not content:
        raise DatasetError(f"splits_file '{path}' holds no list of folds: give {_FORM}.")
    return content

# SPDX-License-Identifier: Apache-2.0
"""A data set made ready for a search: verified, fingerprinted and split."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.fingerprint import Fingerprint, fingerprint_dataset
from monai_ronas.data.folds import Split, split_cases
from monai_ronas.data.msd import Case, MSDDataset, read_msd
from monai_ronas.data.verify import as_table, raise_for_faults, verify_dataset, write_report

logger = logging.getLogger(__name__)
_LARGEST_TO_MEDIAN = 1.25


@dataclass(frozen=True)
class Study:
    """What a search knows of its data.

    Args:
        dataset: the data set as declared.
        fingerprint: its facts.
        split: the use of each case.
    """

    dataset: MSDDataset
    fingerprint: Fingerprint
    split: Split

    def cases(self, use: str) -> list[Case]:
        """Cases of a use: ``"train"``, ``"reward"`` or ``"test"``."""
        names = set(getattr(self.split, use))
        return [c for c in self.dataset.cases if c.name in names]

    @property
    def search_shape(self) -> tuple[int, ...]:
        """Shape that bounds the patches: the largest volume's, but at most 1.25 times the median on each axis."""
        fingerprint = self.fingerprint
        return tuple(
            min(largest, math.floor(_LARGEST_TO_MEDIAN * median))
            for largest, median in zip(fingerprint.max_shape, fingerprint.median_shape, strict=True)
        )

    def identity(self) -> dict[str, Any]:
        """What tells this study from another, as plain types."""
        facts = json.dumps(self.fingerprint.to_dict(), sort_keys=True).encode()
        digest = hashlib.sha256(facts).hexdigest()
        return {"data set": [self.dataset.name, digest], "split": self.split.to_dict()}

    def summary(self) -> str:
        """The study in a few lines of text."""
        f, s = self.fingerprint, self.split
        labels = ", ".join(f"{value} {name}" for value, name in sorted(f.labels.items()) if value)
        rows: Sequence[tuple[str, str]] = (
            ("data set", f"{f.name}: {f.num_cases} cases, {', '.join(f.modality)}; {labels}"),
            ("shape", f"median {_times(f.median_shape)}, largest {_times(f.max_shape)} voxels"),
            ("spacing", f"{_times(f'{v:g}' for v in f.target_spacing)} mm"),
            ("split", f"{len(s.train)} train, {len(s.reward)} reward, {len(s.test)} test"),
        )
        return "\n".join(f"{name:>10}  {text}" for name, text in rows)


def open_study(
    dataset_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    fold: int | None,
    num_folds: int,
    reward_fraction: float,
    seed: int,
    skip_invalid: bool = False,
    resample_label: bool = False,
) -> Study:
    """Read, verify, split and fingerprint a data set; writes ``dataset_report.json``.

    Every case is verified, but none is read again that was found sound before and has the same files (remembered in
    ``.verified.jsonl``, which may be deleted at any time). The fingerprint, and with it the preprocessing and the
    space, comes from the cases outside the test fold.

    Args:
        dataset_dir: folder in the layout of the Medical Segmentation Decathlon.
        output_dir: where the report is written.
        fold: the test fold; None: no test cases.
        num_folds: number of folds.
        reward_fraction: part of the other cases that is scored for the reward.
        seed: seed of the split.
        skip_invalid: leave cases with faults out instead of refusing the data set.
        resample_label: resample labels that are on another grid than their image.

    Returns:
        the study.

    Raises:
        DatasetError: one sentence, when the data set cannot be searched.
    """
    dataset = read_msd(dataset_dir, strict=False)

    def split_of(cases: Sequence[Case]) -> Split:
        names = [c.name for c in cases]
        return split_cases(names, fold=fold, num_folds=num_folds, reward_fraction=reward_fraction, seed=seed)

    if not dataset.faults:
        split_of(dataset.cases)  # wrong arguments are told before every file is decoded
    begin = time.perf_counter()
    memo = Path(output_dir) / ".verified.jsonl"
    report, stats = verify_dataset(dataset, resample_label=resample_label, memo=memo)
    logger.info("verified: %d cases in %.1f s", len(dataset.cases), time.perf_counter() - begin)
    path = Path(output_dir) / "dataset_report.json"
    if report["faults"]:
        write_report(report, path)
    if report["warnings"]:
        logger.warning("warnings of data set %r:\n%s", dataset.name, as_table(report["warnings"]))
    if not skip_invalid:
        raise_for_faults(report, report_path=path)
    elif report["faults"]:
        logger.warning("left out for their faults:\n%s", as_table(report["faults"]))
        sound = {s.name for s in stats}
        dataset = replace(dataset, cases=tuple(c for c in dataset.cases if c.name in sound))
        if not sound:
            raise DatasetError(f"data set '{dataset.name}' has no case without a fault; the report is in '{path}'.")
    skipped = {fault["case"] for fault in report["faults"]} - {case.name for case in dataset.cases}
    split = replace(split_of(dataset.cases), skipped=tuple(sorted(skipped)))
    fingerprint = fingerprint_dataset(
        dataset, [s for s in stats if s.name not in split.test], resample_label=resample_label
    )
    write_report({**report, "fingerprint": fingerprint.to_dict(), "split": split.to_dict()}, path)
    return Study(dataset=dataset, fingerprint=fingerprint, split=split)


def _times(values: Any) -> str:
    return " x ".join(str(v) for v in values)

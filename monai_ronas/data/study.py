# SPDX-License-Identifier: Apache-2.0
"""A data set made ready for a search: verified, fingerprinted and split."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.fingerprint import Fingerprint, fingerprint_dataset
from monai_ronas.data.folds import Split, split_cases
from monai_ronas.data.groups import group_cases, group_hint
from monai_ronas.data.msd import Case, MSDDataset, read_msd
from monai_ronas.data.own_folds import read_test_cases
from monai_ronas.data.symmetries import flip_axes as flip_axes_of
from monai_ronas.data.symmetries import flips_in_words, transposed_axes
from monai_ronas.data.verify import as_table, raise_for_faults, verify_dataset, write_report
from monai_ronas.utils import report_folder
from monai_ronas.utils.ranks import main_first

logger = logging.getLogger(__name__)
_LARGEST_TO_MEDIAN = 1.25


@dataclass(frozen=True)
class Study:
    """What a search knows of its data.

    Args:
        dataset: the data set as declared.
        fingerprint: its facts.
        split: the use of each case.
        flip_axes: axes, in RAS order, along which crops may be flipped.
        num_groups: groups of cases that are kept together; None: there are none.
        group: the regular expression that tells them, of case names; None: there are none.
        digests: of the images by case name, those left out for their faults included, as
            :func:`~monai_ronas.data.content.image_digest` gives them.
    """

    dataset: MSDDataset
    fingerprint: Fingerprint
    split: Split
    flip_axes: tuple[int, ...] = (0, 1, 2)
    num_groups: int | None = None
    group: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    def cases(self, use: str) -> list[Case]:
        """Cases of a use: ``"train"``, ``"reward"`` or ``"test"``."""
        names = set(getattr(self.split, use))
        return [c for c in self.dataset.cases if c.name in names]

    @property
    def transposed_axes(self) -> tuple[int, int] | None:
        """The two axes that change places in half of the crops; None: none do."""
        return transposed_axes(self.flip_axes, self.fingerprint.target_spacing)

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
        if f.ignore_label is not None:
            labels += f"; voxels with {f.ignore_label} count nowhere"
        groups = "" if self.num_groups is None else f"; {self.num_groups} groups of cases, each on one side"
        rows: Sequence[tuple[str, str]] = (
            ("data set", f"{f.name}: {f.num_cases} cases, {', '.join(f.modality)}; {labels}"),
            ("shape", f"median {_times(f.median_shape)}, largest {_times(f.max_shape)} voxels"),
            ("spacing", f"{_times(f'{v:g}' for v in f.target_spacing)} mm"),
            ("split", f"{len(s.train)} train, {len(s.reward)} reward, {len(s.test)} test{groups}"),
            ("flips", flips_in_words(f.labels, self.flip_axes, f.target_spacing)),
        )
        return "\n".join(f"{name:>10}  {text}" for name, text in rows)


@main_first()
def open_study(
    dataset_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    fold: int | None,
    num_folds: int,
    reward_fraction: float,
    seed: int,
    group: str | None = None,
    splits_file: str | os.PathLike[str] | None = None,
    flip_axes: Sequence[int] | None = None,
    skip_invalid: bool = False,
    resample_label: bool = False,
) -> Study:
    """Read, verify, split and fingerprint a data set; writes ``dataset_report.json``.

    Every case is verified, but none is read again that was found sound before and has the same files (remembered in
    ``.verified.jsonl``, which may be deleted at any time). The fingerprint, and with it the preprocessing and the
    space, comes from the cases outside the test fold. Of many processes rank 0 verifies, and the others read what it
    remembers.

    Args:
        dataset_dir: folder of a data set, in any layout of :mod:`monai_ronas.data.layouts`.
        output_dir: where the report is written; where a search has begun there, its own report stays, see
            :func:`~monai_ronas.utils.report_folder`.
        fold: the test fold; None: no test cases.
        num_folds: number of folds.
        reward_fraction: part of the other cases that is scored for the reward.
        seed: seed of the split.
        group: a regular expression on case names whose first group names the patient: cases of one patient have the
            same use.
        splits_file: own folds, as :func:`~monai_ronas.data.own_folds.read_test_cases` reads them, in place of
            ``num_folds``.
        flip_axes: axes, in RAS order, along which crops may be flipped. Default: all, but not from left to right
            where labels are mirror images, and not across thick slices.
        skip_invalid: leave cases with faults out instead of refusing the data set.
        resample_label: resample labels that are on another grid than their image.

    Returns:
        the study.

    Raises:
        DatasetError: one sentence, when the data set cannot be searched; that is also where the training or the reward
            cases could have no foreground.
    """
    dataset = read_msd(dataset_dir, strict=False)

    names = [case.name for case in dataset.cases]
    groups = None if group is None else group_cases(names, group)
    faulty = {name for name, _ in dataset.faults}
    test = None if splits_file is None else read_test_cases(splits_file, fold=fold, names=names, left_out=faulty)
    fractions: dict[str, Any] = {"num_folds": num_folds, "reward_fraction": reward_fraction, "seed": seed}

    def split_of(cases: Sequence[Case], classes: Mapping[str, Collection[int]] | None = None) -> Split:
        held = None if test is None else set(test)
        return split_cases([c.name for c in cases], fold=fold, **fractions, groups=groups, classes=classes, test=held)

    if not dataset.faults:
        split_of(dataset.cases)  # wrong arguments are told before every file is decoded
    hint = group_hint(names) if group is None else None
    if hint:
        logger.warning(hint)
    begin = time.perf_counter()
    memo = Path(output_dir) / ".verified.jsonl"
    report, stats = verify_dataset(dataset, resample_label=resample_label, memo=memo)
    logger.info("verified: %d cases in %.1f s", len(dataset.cases), time.perf_counter() - begin)
    path = report_folder(output_dir) / "dataset_report.json"
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
    classes = {s.name: {value for value, count in s.label_voxels.items() if value and count} for s in stats}
    split = replace(split_of(dataset.cases, classes), skipped=tuple(sorted(skipped)))
    _refuse_hopeless(dataset, split, classes)
    fingerprint = fingerprint_dataset(
        dataset, [s for s in stats if s.name not in split.test], resample_label=resample_label
    )
    spacing = fingerprint.target_spacing
    axes = flip_axes_of(fingerprint.labels, spacing) if flip_axes is None else tuple(flip_axes)
    num_groups = None if groups is None else len({groups[case.name] for case in dataset.cases})
    found = {"num_groups": num_groups, "flips": flips_in_words(fingerprint.labels, axes, spacing)}
    write_report({**report, "fingerprint": fingerprint.to_dict(), "split": split.to_dict(), **found}, path)
    digests = {entry["name"]: entry["digest"] for entry in report["cases"] if "digest" in entry}
    return Study(dataset, fingerprint, split, flip_axes=axes, num_groups=num_groups, group=group, digests=digests)


def _refuse_hopeless(dataset: MSDDataset, split: Split, classes: Mapping[str, Collection[int]]) -> None:
    """Refuse a split with which nothing could be learned or scored, and warn of classes for which that holds.

    Raises:
        DatasetError: when the training or the reward cases have no foreground.
    """
    seen = {use: {value for name in getattr(split, use) for value in classes[name]} for use in ("train", "reward")}
    number = sum(bool(classes[name]) for name in (*split.train, *split.reward))
    if not all(seen.values()):
        raise DatasetError(
            f"{number} of the {len(split.train) + len(split.reward)} case(s) outside the test fold have foreground in"
            " their labels, but training and reward need one each: give more labelled cases, or another fold."
        )
    if split.test and not any(classes[name] for name in split.test):
        logger.warning("no test case has foreground: there will be no test Dice; give another fold")
    everywhere = set().union(*classes.values())
    for value, label in dataset.labels.items():
        if value == 0 or value in seen["train"] & seen["reward"]:
            continue
        if value not in everywhere:
            text = "no case has label %d '%s': the network cannot learn it; leave it out of dataset.json, or give cases"
        elif value not in seen["train"]:
            text = (
                "no training case has label %d '%s': the network cannot learn it; give cases with it, or another fold"
            )
        else:
            text = "no reward case has label %d '%s': candidates are compared without it; give more cases with it"
        logger.warning(text, value, label)


def _times(values: Any) -> str:
    return " x ".join(str(v) for v in values)

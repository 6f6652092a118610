# SPDX-License-Identifier: Apache-2.0
"""What the verification finds in a case, and what it finds by comparing the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from monai.data.utils import compute_shape_offset

from monai_ronas.data.stats import CaseStats

SPACING_RANGE = 20.0
"""Largest accepted ratio of a case's voxel size to the data set's median, or the reverse, along each axis."""


@dataclass
class CheckedCase:
    """What the verification of a case has found.

    Attributes:
        entry: the case's entry in the report.
        problems: faults, in words.
        warnings: what is odd but usable, in words.
        stats: statistics for the fingerprint, None where they cannot be had.
        digest: of the image's voxels, the same for the same image.
    """

    entry: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stats: CaseStats | None = None
    digest: str | None = None


def check_duplicates(cases: Sequence[CheckedCase]) -> None:
    """Note a fault for every image that an earlier case has as well: it could be trained on and tested on.

    Of such cases one without other faults counts as the first.
    """
    first: dict[str, str] = {}
    for checked in sorted(cases, key=lambda checked: bool(checked.problems)):
        if checked.digest is not None:
            name = first.setdefault(checked.digest, checked.entry["name"])
            if name != checked.entry["name"]:
                checked.problems.append(f"the image is the same as that of case '{name}'")


def check_spacings(cases: Sequence[CheckedCase]) -> None:
    """Note a fault for every case with voxels of another scale than the data set's: its size would become absurd."""
    sound = [(checked, checked.stats) for checked in cases if checked.stats is not None and not checked.problems]
    if not sound:
        return
    median = np.median([stats.spacing for _, stats in sound], axis=0)
    for checked, stats in sound:
        spacing = np.array(stats.spacing)
        if np.maximum(spacing / median, median / spacing).max() > SPACING_RANGE:
            size, _ = compute_shape_offset(stats.shape, np.diag([*spacing, 1.0]), np.diag([*median, 1.0]))
            checked.problems.append(
                f"the image has voxels of {times(spacing)} mm where {times(median)} mm are usual in the data set: "
                f"it would be resampled to {times(size)} voxels"
            )


def times(values: Any) -> str:
    """Numbers as in ``2 x 3 x 4``."""
    return " x ".join(f"{float(value):.6g}" for value in values)

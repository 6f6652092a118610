# SPDX-License-Identifier: Apache-2.0
"""What the verification finds in a case, and what it finds by comparing the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_ronas.data.fingerprint import target_spacing
from monai_ronas.data.image_faults import spacing_faults
from monai_ronas.data.stats import CaseStats


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
    spacings = np.array([stats.spacing for _, stats in sound])
    for checked, stats in sound:
        for usual in (np.median(spacings, axis=0), target_spacing(spacings)):
            faults = spacing_faults(stats.shape, stats.spacing, usual)
            if faults:
                checked.problems += faults
                break

# SPDX-License-Identifier: Apache-2.0
"""How large cases are by their headers, and how many of them the memory can hold at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from monai_ronas.data.case import Case
from monai_ronas.data.reading import volume_values
from monai_ronas.utils import available_memory_bytes


class CaseValues(NamedTuple):
    """Numbers of values, which is voxels times channels, of a case's files; 0 where a header cannot be read."""

    image: int
    label: int


def case_values(case: Case) -> CaseValues:
    """Read the sizes of a case from its headers."""
    return CaseValues(_values(case.images), _values([case.label]))


def bounded_workers(cases: Sequence[CaseValues], *, bytes_per_value: int, most: int) -> int:
    """Number of cases to work on at once, so that half of the available memory is enough for the largest of them.

    Args:
        cases: sizes of all the cases.
        bytes_per_value: memory that the work takes for every value of an image or label, at its peak.
        most: the largest number.

    Returns:
        1 to ``most``, and no more than CPU cores or cases.
    """
    largest = max((sum(case) for case in cases), default=0)
    fitting = available_memory_bytes() // (2 * bytes_per_value * max(1, largest))
    return max(1, min(fitting, most, os.cpu_count() or 1, len(cases)))


def _values(paths: Sequence[Path]) -> int:
    try:
        return max(0, volume_values(paths))
    except Exception:  # whatever a broken file makes the reader raise: the verification reports it
        return 0

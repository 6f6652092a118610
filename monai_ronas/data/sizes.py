# SPDX-License-Identifier: Apache-2.0
"""How large cases are by their headers, and how many of them the memory can hold at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Condition
from typing import NamedTuple, TypeVar

from monai_ronas.data.case import Case
from monai_ronas.data.reading import volume_values
from monai_ronas.utils import available_memory_bytes

C = TypeVar("C")
R = TypeVar("R")
MOST_WORKING_MEMORY = 4 * 2**30
"""Bytes of memory that several cases which are worked on at once may take."""


class CaseValues(NamedTuple):
    """Numbers of values, which is voxels times channels, of a case's files; 0 where a header cannot be read."""

    image: int
    label: int


def case_values(case: Case) -> CaseValues:
    """Read the sizes of a case from its headers."""
    return CaseValues(_values(case.images), _values([case.label]))


def working_memory_bytes() -> int:
    """Memory in bytes that work on several cases at once may take: half of what is available, at most 4 GiB."""
    return min(available_memory_bytes() // 2, MOST_WORKING_MEMORY)


def bounded_workers(needs: Sequence[int], *, most: int) -> int:
    """Number of cases to work on at once, where each may be the largest.

    Args:
        needs: memory in bytes that the work on each case takes at its peak.
        most: the largest number.

    Returns:
        1 to ``most``, no more than CPU cores or cases, nor than :func:`working_memory_bytes` is enough for.
    """
    fitting = working_memory_bytes() // max([1, *needs])
    return max(1, min(fitting, most, os.cpu_count() or 1, len(needs)))


def bounded_map(function: Callable[[C], R], cases: Sequence[C], needed: Callable[[C], int], *, most: int) -> list[R]:
    """Call a function for every case, in threads, as many at once as :func:`working_memory_bytes` is enough for.

    A case that needs more than that is worked on alone.

    Args:
        function: the work on a case.
        cases: the cases.
        needed: memory in bytes that the work on a case takes at its peak.
        most: the largest number of cases at once; there are no more than CPU cores either.

    Returns:
        What the function returned, in the order of the cases.

    Raises:
        Exception: what the function raised for the first case for which it did.

    Example:
        >>> bounded_map(abs, [-1, 2, -3], lambda case: 8, most=4)
        [1, 2, 3]
    """
    bound, taken, change = working_memory_bytes(), 0, Condition()

    def work(case: C) -> R:
        nonlocal taken
        need = needed(case)
        with change:
            change.wait_for(lambda: taken == 0 or taken + need <= bound)
            taken += need
        try:
            return function(case)
        finally:
            with change:
                taken -= need
                change.notify_all()

    with ThreadPoolExecutor(max(1, min(most, os.cpu_count() or 1, len(cases)))) as pool:
        return list(pool.map(work, cases))


def _values(paths: Sequence[Path]) -> int:
    try:
        return max(0, volume_values(paths))
    except Exception:  # whatever a broken file makes the reader raise: the verification reports it
        return 0

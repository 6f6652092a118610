# SPDX-License-Identifier: Apache-2.0
"""Data sets of preprocessed cases, kept in memory as far as it reaches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import CacheDataset, Dataset
from monai.utils import optional_import

from monai_ronas.data.msd import Case

_GB = 1024**3


def build_dataset(
    cases: Sequence[Case], transform: Callable | Sequence[Callable], *, memory_gb: float | None = None
) -> Dataset:
    """Make a data set of cases whose deterministic transforms are cached for as many cases as fit.

    The size of a case is estimated from its headers, at 4 bytes a voxel for image and label, before resampling.

    Args:
        cases: the cases.
        transform: transforms of ``{"image": path, "label": path}`` items.
        memory_gb: memory for the cache in GiB; ``None`` for half of what is available, 0 for no cache.

    Returns:
        The data set, in the order of ``cases``.

    Raises:
        ValueError: when ``memory_gb`` is negative.
    """
    if memory_gb is not None and memory_gb < 0:
        raise ValueError(f"memory_gb must be None or at least 0, received {memory_gb}.")
    budget = _available_bytes() / 2 if memory_gb is None else memory_gb * _GB
    sizes = np.cumsum([_case_bytes(case) for case in cases])
    fitting = int(np.searchsorted(sizes, budget, side="right"))
    return CacheDataset(
        data=[{"image": str(case.image), "label": str(case.label)} for case in cases],
        transform=transform,
        cache_num=fitting,
        num_workers=min(4, os.cpu_count() or 1),
        progress=False,
    )


def _case_bytes(case: Case) -> int:
    files: list[Any] = [nib.load(path) for path in (case.image, case.label)]
    return sum(4 * math.prod(file.shape) for file in files)


def _available_bytes() -> int:
    psutil, found = optional_import("psutil")
    if found:
        return int(psutil.virtual_memory().available)
    return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))

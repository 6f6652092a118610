# SPDX-License-Identifier: Apache-2.0
"""Data sets of preprocessed cases, kept on the disk or in memory."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, Dataset
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait

from monai_ronas.data.compact import CompactCase
from monai_ronas.data.disk_cache import DiskCache
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.msd import Case
from monai_ronas.data.resident import ResidentDataset
from monai_ronas.data.sizes import CaseValues, bounded_map, bounded_workers, case_values
from monai_ronas.errors import SettingError
from monai_ronas.utils import available_memory_bytes
from monai_ronas.utils.ranks import agree_any, number_of_ranks, own_rank

logger = logging.getLogger(__name__)
_GB = 1024**3
_BYTES_PER_VALUE = 14  # of memory, at the peak of preprocessing
_MOST_WORKERS = 4


def build_dataset(
    cases: Sequence[Case],
    transform: Callable[..., Any] | Sequence[Callable[..., Any]],
    *,
    memory_gb: float | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    device_gb: float = 0.0,
) -> Dataset:
    """Make a data set of cases that are preprocessed once.

    With ``cache_dir`` every case is written to a file there, unless its file is there already, and read from it by
    mapping it into memory: the process' memory does not grow with the number of cases, and data sets that have a case
    in common share its file. Without it, the cases are kept in memory, as many as fit. Items are dictionaries of plain
    tensors as :class:`monai_ronas.data.compact.CompactCase` gives them; those from ``cache_dir`` share the memory of
    their file.

    As many cases are preprocessed at once, at most 4, as :func:`monai_ronas.data.sizes.working_memory_bytes` is enough
    for. Sizes are estimated from the headers, before resampling. Of many processes each makes a part of the files.

    Args:
        cases: the cases.
        transform: deterministic transforms of ``{"image": path, "label": path}`` items.
        memory_gb: memory for cases in GiB where there is no ``cache_dir``; ``None`` for half of what is available, 0
            for no case.
        cache_dir: folder of the preprocessed cases, made where it is missing; it may be deleted at any time.
        device: a CUDA device on which images and labels stay once they have been asked for.
        device_gb: memory in GiB that they may take there; 0 for none.

    Returns:
        The data set, in the order of ``cases``.

    Raises:
        SettingError: when ``memory_gb`` is negative or a transform random.
        DatasetError: when the folder cannot be written, or its disk has no room for the cases.
    """
    if memory_gb is not None and memory_gb < 0:
        raise SettingError(f"memory_gb must be None or at least 0, received {memory_gb}.")
    data = [case.item() for case in cases]
    steps = Compose([*([transform] if callable(transform) else transform), CompactCase()]).flatten()
    for step in steps.transforms:
        if isinstance(step, RandomizableTrait):
            raise SettingError(
                f"transform must be deterministic, received {type(step).__name__}: what it gives would be kept."
            )
    dataset = _kept(cases, data, steps, memory_gb=memory_gb, cache_dir=cache_dir)
    if device_gb > 0 and torch.device(device).type == "cuda":
        return ResidentDataset(dataset, device, most_gb=device_gb)
    return dataset


def _kept(
    cases: Sequence[Case],
    data: list[dict[str, Any]],
    steps: Compose,
    *,
    memory_gb: float | None,
    cache_dir: str | os.PathLike[str] | None,
) -> Dataset:
    if cache_dir is not None:
        return _prepared(DiskCache(data, steps, cache_dir=Path(cache_dir)), cases, Path(cache_dir))
    values = [case_values(case) for case in cases]
    budget = available_memory_bytes() / 2 if memory_gb is None else memory_gb * _GB
    sizes = np.cumsum([_stored_bytes(case) for case in values])
    return CacheDataset(
        data=data,
        transform=steps,
        cache_num=int(np.searchsorted(sizes, budget, side="right")),
        num_workers=bounded_workers([_needed_bytes(case) for case in values], most=_MOST_WORKERS),
        progress=False,
        copy_cache=False,
    )


def _prepared(dataset: DiskCache, cases: Sequence[Case], folder: Path) -> DiskCache:
    """The data set with all its files made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make(dataset, cases, folder, [i for i in dataset.missing() if i % number_of_ranks() == own_rank()])
        if number_of_ranks() > 1:
            agree_any(False)  # what the others make is there
            _make(dataset, cases, folder, dataset.missing())  # or on the disk of another machine
    except OSError as error:
        raise DatasetError(
            f"cache_dir '{folder}' cannot hold the preprocessed cases ({error.strerror}):"
            " give another folder with --cache_dir."
        ) from error
    return dataset


def _make(dataset: DiskCache, cases: Sequence[Case], folder: Path, missing: Sequence[int]) -> None:
    if not missing:
        return
    begin = time.perf_counter()
    values = [case_values(cases[index]) for index in missing]
    _refuse_small_disk(folder, sum(_stored_bytes(case) for case in values))
    needs = dict(zip(missing, map(_needed_bytes, values), strict=True))
    bounded_map(dataset.make, missing, lambda index: needs[index], most=_MOST_WORKERS)
    seconds = time.perf_counter() - begin
    logger.info("preprocessed: %d cases into '%s' in %.1f s", len(missing), folder, seconds)


def _refuse_small_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatasetError(
            f"cache_dir '{folder}' has {free / _GB:.2f} GB free where the preprocessed cases need about"
            f" {needed / _GB:.2f} GB: make room, or give a folder on another disk with --cache_dir."
        )


def _needed_bytes(case: CaseValues) -> int:
    return _BYTES_PER_VALUE * sum(case)


def _stored_bytes(case: CaseValues) -> int:
    return 4 * case.image + case.label

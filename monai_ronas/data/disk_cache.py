# SPDX-License-Identifier: Apache-2.0
"""Preprocessed cases on the disk, of which a crop reads its own part alone."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset

from monai_ronas.data.identity import files_hash, transform_hash
from monai_ronas.utils import write_atomically

logger = logging.getLogger(__name__)
_VERSION = 2
_DAMAGED = (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError)  # of torch.load


class DiskCache(Dataset):
    """Cases that are preprocessed once, into files that are mapped into memory instead of read.

    An item's tensors are views of its file: what is read of them is what is used, the file system's cache holds it once
    for all data sets and processes, and it leaves the process' memory with the item. A file is named after the paths,
    sizes and times of modification of the case's files, and after the transforms and the version of MONAI; one that is
    missing or damaged is made again when its case is asked for, so that the folder may be deleted at any time.

    MONAI's ``PersistentDataset`` reads the whole file for every item and names it after the paths alone.

    Args:
        data: the cases, as ``{"image": path, "label": path}``.
        transform: deterministic transforms, the last of which gives plain tensors.
        cache_dir: folder of the files, made where it is missing.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, str | Sequence[str]]],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        *,
        cache_dir: Path,
    ) -> None:
        super().__init__(data=data, transform=transform)
        settings = [_VERSION, transform_hash(self.transform.flatten().transforms)]
        self.files = [cache_dir / f"{files_hash(case, settings)}.pt" for case in data]

    def missing(self) -> list[int]:
        """Indices of the cases that have no file yet, the first of each where cases occur twice."""
        first = {file: index for index, file in reversed(list(enumerate(self.files)))}
        return sorted(index for file, index in first.items() if not file.is_file())

    def make(self, index: int) -> None:
        """Preprocess a case and write its file.

        Raises:
            OSError: when the file cannot be written.
        """
        transform = deepcopy(self.transform)  # MONAI's readers keep the name of what they read last
        item = transform(dict(self.data[index]))
        write_atomically(self.files[index], lambda file: torch.save(item, file))

    def _transform(self, index: int) -> Any:
        file = self.files[index]
        if not file.is_file():
            self.make(index)
        try:
            return _mapped(file)
        except _DAMAGED as error:
            logger.warning("the preprocessed case in '%s' is damaged (%s): it is made again", file, error)
        self.make(index)
        return _mapped(file)


def _mapped(file: Path) -> dict[str, Any]:
    item = torch.load(str(file), mmap=True, weights_only=True)
    if not isinstance(item, dict):
        raise TypeError(f"it holds a {type(item).__name__}")
    return item

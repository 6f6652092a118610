# SPDX-License-Identifier: Apache-2.0
"""Preprocessed cases on the disk, of which a crop reads its own part alone."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from pathlib import Path
from threading import local
from typing import Any

import monai
import numpy as np
import torch
from monai.data import Dataset

from monai_ronas.utils import write_atomically

logger = logging.getLogger(__name__)
_VERSION = 1
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
        self, data: Sequence[Mapping[str, str]], transform: Callable | Sequence[Callable], *, cache_dir: Path
    ) -> None:
        super().__init__(data=data, transform=transform)
        salt = transform_hash(self.transform.flatten().transforms)
        self.files = [cache_dir / f"{files_hash(case, salt)}.pt" for case in data]

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
    item = torch.load(file, mmap=True, weights_only=True)
    if not isinstance(item, dict):
        raise TypeError(f"it holds a {type(item).__name__}")
    return item


def files_hash(files: Mapping[str, str], salt: str = "") -> str:
    """Hash of where files lie, of their sizes and of when they were modified.

    Args:
        files: what each file is, and its path.
        salt: what else the hash depends on.

    Returns:
        Hexadecimal digits.

    Raises:
        OSError: when a file is missing.
    """
    facts: list[Any] = [salt]
    for what, name in sorted(files.items()):
        path = Path(name).resolve()
        state = path.stat()
        facts.append([what, str(path), state.st_size, state.st_mtime_ns])
    return _digest(facts)


def transform_hash(transforms: Sequence[Any]) -> str:
    """Hash of transforms and their settings, the same in every process (which that of their pickle is not).

    Args:
        transforms: the transforms.

    Returns:
        Hexadecimal digits.
    """
    return _digest([_VERSION, monai.__version__, described(transforms)])


def described(value: Any, *, within: tuple[int, ...] = ()) -> Any:
    """A transform, or what it is set to, in JSON-able words."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in within:
        return "itself"
    within = (*within, id(value))
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return [str(value.dtype), np.asarray(value).tolist()]
    if isinstance(value, (np.dtype, torch.dtype, torch.device, np.generic, Path)):
        return str(value)
    if isinstance(value, Mapping):
        return sorted([str(key), described(item, within=within)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [described(item, within=within) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if hasattr(value, "__qualname__"):  # a function or a class
        return f"{value.__module__}.{value.__qualname__}"
    settings = {key: item for key, item in getattr(value, "__dict__", {}).items() if not isinstance(item, local)}
    return [f"{type(value).__module__}.{type(value).__qualname__}", described(settings, within=within)]


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

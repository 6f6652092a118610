# SPDX-License-Identifier: Apache-2.0
"""Names for results that depend on files and settings: the same ones have the same name in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from threading import local
from types import FunctionType
from typing import Any

import monai
import numpy as np
import torch
from monai.utils import ensure_tuple

from monai_ronas.data.formats import files_of


def files_hash(files: Mapping[str, str | Sequence[str]], settings: Any = None) -> str:
    """Hash of where files lie, of their sizes and times of modification, and of settings.

    Args:
        files: what each volume is, and its path or the paths of its channels.
        settings: what else the hash depends on, JSON-able.

    Returns:
        Hexadecimal digits.

    Raises:
        OSError: when a file is missing.
    """
    facts: list[Any] = [settings]
    for what, names in sorted(files.items()):
        for path in (file.resolve() for name in ensure_tuple(names) for file in files_of(name)):
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
    return _digest([monai.__version__, described(transforms)])


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
    if isinstance(value, torch.device):  # whichever of several alike
        return value.type
    if isinstance(value, (np.dtype, torch.dtype, np.generic, Path)):
        return str(value)
    if isinstance(value, Mapping):
        return sorted([str(key), described(item, within=within)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [described(item, within=within) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, partial):
        return [described(part, within=within) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, FunctionType):  # two lambdas may have the same name
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (value.__code__.co_consts, value.__code__.co_names, value.__defaults__, cells)
        return [value.__qualname__, value.__code__.co_code.hex(), *(described(part, within=within) for part in parts)]
    if hasattr(value, "__qualname__"):  # a class or a built-in function
        return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    if isinstance(value, torch.nn.Module):  # the rest of its dictionary is torch's own
        own = {key: item for key, item in vars(value).items() if not key.startswith("_") and key != "training"}
        return [
            f"{type(value).__module__}.{type(value).__qualname__}",
            described({**own, **value._modules}, within=within),
        ]
    settings = {key: item for key, item in getattr(value, "__dict__", {}).items() if not isinstance(item, local)}
    return [f"{type(value).__module__}.{type(value).__qualname__}", described(settings, within=within)]


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

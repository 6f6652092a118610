# SPDX-License-Identifier: Apache-2.0
"""Memory of the device and of the machine: what there is and what was used."""

from __future__ import annotations

import psutil
import torch

from monai_ronas.utils import cgroup

_WORDS = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")  # torch, CUDA, cuDNN and cuBLAS
_NO_CONVOLUTION = ("unable to find an engine to execute", "Unable to find a valid cuDNN algorithm")
_NEARLY_FULL = 0.2  # of a card's memory is left, which the workspace of a convolution may exceed


def memory_mb(device: str | torch.device) -> float:
    """Peak memory in MB: allocated on a CUDA device since the last reset, else resident memory of the process now."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return psutil.Process().memory_info().rss / 2**20


def usable_memory_gb(device: str | torch.device) -> float:
    """Memory in GiB that feature maps may take: 80 % of a CUDA device's, half of the process' limit on a CPU."""
    device = torch.device(device)
    if device.type == "cuda":
        return 0.8 * torch.cuda.get_device_properties(device).total_memory / 2**30
    return 0.5 * memory_limit_bytes() / 2**30


def spare_memory_gb(device: str | torch.device) -> float:
    """Memory in GiB of a CUDA device that cases may take beside the feature maps: a twentieth; none on a CPU."""
    device = torch.device(device)
    return torch.cuda.get_device_properties(device).total_memory / 20 / 2**30 if device.type == "cuda" else 0.0


def memory_limit_bytes() -> int:
    """Memory in bytes that the process may have at most: the machine's, or less where control groups limit it."""
    return min([int(psutil.virtual_memory().total), *(group.limit for group in cgroup.limited_groups())])


def available_memory_bytes() -> int:
    """Memory in bytes that the process can still get, within the machine and the limits of control groups."""
    free = [max(0, group.limit - group.used) for group in cgroup.limited_groups()]
    return min([int(psutil.virtual_memory().available), *free])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that memory is short, on a CUDA device or on the CPU.

    Where the workspaces of all algorithms for a convolution exceed the memory, cuDNN only says that it has found none.
    That is a lack of memory on a card that is nearly full.
    """
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in _WORDS):
        return True
    if any(words in str(error) for words in _NO_CONVOLUTION) and _is_nearly_full():
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def _is_nearly_full() -> bool:
    """Whether little is left on a CUDA device of this process, that included which torch keeps for itself."""
    if not torch.cuda.is_available():
        return False
    used = [device for device in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(device)]
    return any(_left(device) < _NEARLY_FULL for device in used)


def _left(device: int) -> float:
    """What is left of a CUDA device's memory, as a part of it."""
    free, whole = torch.cuda.mem_get_info(device)
    return (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)) / whole

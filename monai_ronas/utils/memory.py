# SPDX-License-Identifier: Apache-2.0
"""Memory of the device and of the machine: what there is and what was used."""

from __future__ import annotations

import psutil
import torch

from monai_ronas.utils import cgroup


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
    """Whether an error says that memory is short, on a CUDA device or on the CPU."""
    kinds = (torch.cuda.OutOfMemoryError, MemoryError)
    words = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")  # torch, CUDA, cuDNN and cuBLAS
    return isinstance(error, kinds) or any(word in str(error) for word in words)

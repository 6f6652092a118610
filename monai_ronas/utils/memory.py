# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the process or the device."""

from __future__ import annotations

import psutil
import torch


def memory_mb(device: str | torch.device) -> float:
    """Peak memory in MB: allocated on a CUDA device since the last reset, else resident memory of the process now."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return psutil.Process().memory_info().rss / 2**20

# SPDX-License-Identifier: Apache-2.0
"""Which precision a device computes fast."""

from __future__ import annotations

import torch

_NATIVE, _TENSOR_CORES = 8, 7  # major compute capabilities of CUDA devices


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether bfloat16 is native on the device; emulated, it is slower than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= _NATIVE  # older ones only emulate it
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in checks)
    return False


def has_fast_half(device: str | torch.device) -> bool:
    """Whether :func:`half_type` is fast on the device: bfloat16, or float16 on CUDA devices with tensor cores.

    CUDA devices of compute capability 7 (V100, T4, RTX 2080 Ti) have the latter alone.
    """
    device = torch.device(device)
    is_cuda = device.type == "cuda"
    return has_fast_bfloat16(device) or (is_cuda and torch.cuda.get_device_capability(device)[0] >= _TENSOR_CORES)


def half_type(device: str | torch.device) -> torch.dtype:
    """The 16-bit type to compute in: float16 on CUDA devices that have no bfloat16, else bfloat16.

    Example:
        >>> half_type("cpu")
        torch.bfloat16
    """
    device = torch.device(device)
    return torch.float16 if device.type == "cuda" and not has_fast_bfloat16(device) else torch.bfloat16


def needs_loss_scaling(device: str | torch.device, *, amp: bool) -> bool:
    """Whether losses have to be scaled in training: gradients would be rounded to zero in float16.

    It is meant for ``amp`` of MONAI's trainers, which scale losses where it is true.

    Args:
        device: where it trains.
        amp: in :func:`half_type`.

    Example:
        >>> needs_loss_scaling("cpu", amp=True)
        False
    """
    return amp and half_type(device) == torch.float16

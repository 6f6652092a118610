# SPDX-License-Identifier: Apache-2.0
"""Which precision a device computes fast."""

from __future__ import annotations

import torch


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether bfloat16 is native on the device; emulated, it is slower than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8  # older ones only emulate it
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in checks)
    return False

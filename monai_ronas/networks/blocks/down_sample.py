# SPDX-License-Identifier: Apache-2.0
"""Max pooling with a stride that can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from monai.networks.layers.factories import Pool
from torch import nn


class SearchableDownSample(nn.Module):
    """Max pooling whose kernel is its stride; a stride of 1 on every axis passes the input through.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        stride: stride along each axis.

    Example:
        >>> SearchableDownSample(3, (2, 2, 1))(torch.zeros(1, 4, 8, 8, 8)).shape
        torch.Size([1, 4, 4, 4, 8])
    """

    def __init__(self, spatial_dims: int, stride: Sequence[int]) -> None:
        super().__init__()
        # With its indices, pooling stays in bfloat16 under autocast on a CPU; without them it is done in float32.
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=tuple(stride), stride=tuple(stride), return_indices=True)
        self.identity = max(stride) == 1

    def select(self, stride: Sequence[int]) -> None:
        """Choose the stride in place."""
        self.pool.kernel_size = self.pool.stride = tuple(stride)
        self.identity = max(stride) == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, H, W[, D])`` to the same with each axis divided by its stride."""
        if self.identity:
            return x
        if not torch.jit.is_scripting():  # noqa: SIM102 - a scripted module must not look further
            if x.device.type == "cpu" and not x.requires_grad and not torch.jit.is_tracing():
                return _largest(x, self.pool.stride)
        return self.pool(x)[0]


@torch.jit.unused
def _largest(x: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    """The same axis by axis, many times as fast on CPUs for few channels; its gradient would be slow."""
    for axis, step in enumerate(stride, start=2):
        if step > 1:
            x = x.narrow(axis, 0, x.shape[axis] // step * step)
            x = reduce(torch.maximum, x.unflatten(axis, (-1, step)).unbind(axis + 1))
    return x

# SPDX-License-Identifier: Apache-2.0
"""Convolutions of which the leading channels can be used alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class LeadingConv2d(nn.Conv2d):
    """torch's convolution, whose first :attr:`width` output channels can be run on the first input channels alone.

    Networks of several widths thus share the weights of their leading channels. The input channels are those that the
    input has.

    Example:
        >>> conv = LeadingConv2d(8, 8, 3, padding=1)
        >>> conv.width = 4
        >>> conv(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 4, 5, 5])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.width = self.out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, H, W)`` to ``(B, width, H, W)``."""
        if not torch.jit.is_scripting():  # noqa: SIM102 - a scripted module must not look further
            if self.width < self.out_channels or x.shape[1] < self.in_channels:
                return self._conv_forward(x, *_leading(self, x.shape[1]))
        return self._conv_forward(x, self.weight, self.bias)


class LeadingConv3d(nn.Conv3d):
    """The same in three dimensions; see :class:`LeadingConv2d`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.width = self.out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, H, W, D)`` to ``(B, width, H, W, D)``."""
        if not torch.jit.is_scripting():  # noqa: SIM102 - a scripted module must not look further
            if self.width < self.out_channels or x.shape[1] < self.in_channels:
                return self._conv_forward(x, *_leading(self, x.shape[1]))
        return self._conv_forward(x, self.weight, self.bias)


def leading_conv(spatial_dims: int) -> type[LeadingConv2d | LeadingConv3d]:
    """The class for 2 or 3 dimensions."""
    return LeadingConv3d if spatial_dims == 3 else LeadingConv2d


@torch.jit.unused
def _leading(conv: LeadingConv2d | LeadingConv3d, inputs: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of the channels in use, laid out as a whole weight is."""
    layout = torch.channels_last_3d if conv.weight.dim() == 5 else torch.channels_last
    last = conv.weight.is_contiguous(memory_format=layout) and not conv.weight.is_contiguous()
    weight = conv.weight[: conv.width, :inputs].contiguous(memory_format=layout if last else torch.contiguous_format)
    return weight, None if conv.bias is None else conv.bias[: conv.width]

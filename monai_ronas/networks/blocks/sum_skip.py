# SPDX-License-Identifier: Apache-2.0
"""A skip connection that is added, not concatenated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_ronas.networks.blocks.down_sample import SearchableDownSample
from monai_ronas.networks.blocks.leading_conv import leading_conv


class SumSkip(nn.Module):
    """Encoder features matched to a decoder level: pooled to its resolution, a 1-wide convolution to its channels.

    During training a skip may be dropped for a whole sample (drop-path, the paper's zero operation), the rest scaled
    up so that the expectation stays.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        source: encoder stage that the features come from, counted from 1 (the finest).
        in_channels: channels of that stage.
        out_channels: channels of the decoder level.
        stride: total stride from the source's resolution to the decoder level's, along each axis.
        drop_path: probability of dropping the skip for a sample in training.

    Example:
        >>> SumSkip(3, 1, 8, 16, stride=(2, 2, 2))(torch.zeros(1, 8, 8, 8, 8)).shape
        torch.Size([1, 16, 4, 4, 4])
    """

    def __init__(
        self,
        spatial_dims: int,
        source: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: Sequence[int],
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must be in [0, 1), received {drop_path}.")
        self.source = source
        self.active = True
        self.drop_path = drop_path
        self.down = SearchableDownSample(spatial_dims, stride)
        self.project = leading_conv(spatial_dims)(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, ...)`` at the source's resolution to ``(B, out_channels, ...)`` at the level's."""
        x = self.project(self.down(x))
        if self.training and self.drop_path > 0.0:
            keep = torch.rand([x.shape[0]] + [1] * (x.dim() - 1), device=x.device) >= self.drop_path
            x = x * (keep.to(x.dtype) / (1.0 - self.drop_path))
        return x

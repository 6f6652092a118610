# SPDX-License-Identifier: Apache-2.0
"""The resolution stages of the encoder and the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from monai_ronas.networks.blocks.conv_block import ActSpec, SearchableConvBlock
from monai_ronas.networks.blocks.down_sample import SearchableDownSample
from monai_ronas.networks.blocks.leading_conv import leading_conv
from monai_ronas.networks.blocks.sum_skip import SumSkip


class EncoderStage(nn.Module):
    """Down-sampling followed by two convolution blocks.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride along each axis.
        dilation: dilation rate of both blocks.
        block: keyword arguments of :class:`SearchableConvBlock` (``act``, ``norm``, ``kernel_size``, ``dropout``).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: Sequence[int],
        dilation: int,
        block: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.down = SearchableDownSample(spatial_dims, stride)
        self.conv1 = SearchableConvBlock(spatial_dims, in_channels, out_channels, dilation=dilation, **block)
        self.conv2 = SearchableConvBlock(spatial_dims, out_channels, out_channels, dilation=dilation, **block)

    def select(self, *, stride: Sequence[int], dilation: int, act: ActSpec, width: int) -> None:
        """Choose stride, dilation, activation and number of output channels in place."""
        self.down.select(stride)
        self.conv1.select(dilation=dilation, act=act, width=width)
        self.conv2.select(dilation=dilation, act=act, width=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, ...)`` to ``(B, out_channels, ...)``, each axis divided by its stride."""
        return self.conv2(self.conv1(self.down(x)))


class DecoderStage(nn.Module):
    """Up-sampling to a finer level, the sum of the skips joined there, two convolution blocks.

    The coarser features are matched to the level's channels by a 1-wide convolution before the interpolation: the
    two commute, and there are fewer voxels before it.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        in_channels: channels of the coarser level.
        out_channels: channels of this level.
        scale: factor of the up-sampling along each axis.
        skips: the skips that may join, by the name of their source stage.
        block: keyword arguments of :class:`SearchableConvBlock`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        scale: Sequence[int],
        skips: Mapping[str, SumSkip],
        block: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.match = leading_conv(spatial_dims)(in_channels, out_channels, kernel_size=1)
        self.skips = nn.ModuleDict(dict(skips))
        self.conv1 = SearchableConvBlock(spatial_dims, out_channels, out_channels, **block)
        self.conv2 = SearchableConvBlock(spatial_dims, out_channels, out_channels, **block)
        self.mode = "trilinear" if spatial_dims == 3 else "bilinear"
        self.scale = [float(s) for s in scale]

    def select(self, *, scale: Sequence[int], act: ActSpec, width: int) -> None:
        """Choose the up-sampling factor, the activation and the number of output channels in place."""
        self.scale = [float(s) for s in scale]
        self.match.width = width
        self.conv1.select(dilation=1, act=act, width=width)
        self.conv2.select(dilation=1, act=act, width=width)
        for skip in cast(Iterable[SumSkip], self.skips.values()):
            skip.project.width = width

    def forward(self, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """Join the coarser level's ``(B, in_channels, ...)`` with the encoder's features, finest first.

        Returns:
            ``(B, out_channels, ...)`` at this level's resolution.
        """
        x = self.match(x)
        if max(self.scale) > 1.0:
            x = F.interpolate(x, scale_factor=self.scale, mode=self.mode, align_corners=False)
        for skip in self.skips.values():
            if skip.active:
                x = x + skip(features[skip.source - 1])  # type: ignore[operator]
        return self.conv2(self.conv1(x))

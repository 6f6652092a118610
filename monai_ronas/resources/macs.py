# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulate operations of an architecture, counted without building it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monai_ronas.space import RonasSpace


def forward_macs(
    space: RonasSpace,
    architecture: Mapping[str, Any],
    *,
    channels: Sequence[int],
    in_channels: int,
    out_channels: int,
    size: Sequence[int] | None = None,
) -> int:
    """Multiply-accumulate operations of the convolutions in one forward pass on one sample.

    Args:
        space: the space of the architecture.
        architecture: the architecture.
        channels: channels of the stages, finest first.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        size: spatial size of the input. Default: the architecture's training patch.

    Returns:
        the count; normalisation, activation and interpolation are left out.

    Example:
        >>> space = RonasSpace((32, 32, 32))
        >>> forward_macs(space, space.base, channels=(8, 16, 32, 64), in_channels=1, out_channels=2)
        294453248
    """
    chosen = space.network_kwargs(architecture)
    kernel = 3 ** len(space.shape)
    voxels: list[int] = []
    current = list(space.patch(architecture) if size is None else size)
    for stride in chosen["strides"]:
        current = [c // s for c, s in zip(current, stride, strict=True)]
        voxels.append(math.prod(current))
    total = 0
    before = in_channels
    for width, count in zip(channels, voxels, strict=True):
        total += count * kernel * (before * width + width * width)
        before = width
    for level in range(1, len(channels)):
        width, count = channels[level - 1], voxels[level - 1]
        total += voxels[level] * channels[level] * width
        total += count * kernel * 2 * width * width
        total += sum(count * channels[j - 1] * width for i, j in chosen["skips"] if i == level)
    return total + voxels[0] * channels[0] * out_channels

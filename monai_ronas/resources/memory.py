# SPDX-License-Identifier: Apache-2.0
"""Peak memory of inference with an architecture, estimated without running it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monai_ronas.space import RonasSpace

_BYTES = 4  # float32; bfloat16 needs less


def inference_bytes(
    space: RonasSpace,
    architecture: Mapping[str, Any],
    *,
    channels: Sequence[int],
    in_channels: int,
    out_channels: int,
    size: Sequence[int],
) -> int:
    """Peak of the bytes of feature maps alive at one time while one volume goes through the network, in float32.

    The order of the network's operations is followed: what the skips keep, a block's input, its convolution and its
    normalisation. Weights and the workspace of the convolutions are left out.

    Args:
        space: the space of the architecture.
        architecture: the architecture.
        channels: channels of the stages, finest first.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        size: spatial size of the volume.

    Returns:
        the bytes, the volume and its prediction included.
    """
    chosen = space.network_kwargs(architecture)
    maps: list[int] = []  # values of one feature map per channel, by stage
    current = [float(s) for s in size]
    for stride in chosen["strides"]:
        current = [c / s for c, s in zip(current, stride, strict=True)]
        maps.append(math.ceil(math.prod(current)))

    kept = maps[0] * math.prod(chosen["strides"][0]) * in_channels
    peak = 0
    before = in_channels
    for stride, width, count in zip(chosen["strides"], channels, maps, strict=True):
        pooled = count * before if max(stride) > 1 else 0
        peak = max(peak, kept + max(pooled + 2 * count * width, 3 * count * width))
        kept += count * width
        before = width
    for level in range(len(channels) - 1, 0, -1):
        own = maps[level - 1] * channels[level - 1]
        matched = maps[level] * channels[level - 1]
        pooled = max((maps[level - 1] * channels[j - 1] for i, j in chosen["skips"] if i == level and j < i), default=0)
        peak = max(peak, kept + max(matched + own, 2 * own + pooled, 4 * own))
        kept += own
    return _BYTES * max(peak, kept + maps[0] * math.prod(chosen["strides"][0]) * out_channels)


def one_shot_voxels(
    space: RonasSpace, *, channels: Sequence[int], in_channels: int, out_channels: int, memory_gb: float
) -> int:
    """Voxels of the largest volume that any architecture of a space can segment in one shot within some memory.

    Args:
        space: the architectures.
        channels: channels of the stages, finest first.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        memory_gb: memory for the feature maps, in GiB.
    """
    widths: dict[str, Any] = {"channels": channels, "in_channels": in_channels, "out_channels": out_channels}
    a_voxel = inference_bytes(space, space.largest, size=space.shape, **widths) / math.prod(space.shape)
    return int(memory_gb * 2**30 / a_voxel)

# SPDX-License-Identifier: Apache-2.0
"""Strides and patch sizes that a volume's shape and spacing permit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai_ronas.errors import SettingError


def base_strides(
    shape: Sequence[int], spacing: Sequence[float], *, stages: int, min_size: int = 4, max_anisotropy: float = 2.0
) -> list[tuple[int, ...]]:
    """Strides of the base network, one tuple per stage; the first stage keeps the resolution.

    An axis is halved at a stage while at least ``min_size`` voxels remain on it and while its voxels are not already
    ``max_anisotropy`` times coarser than those of the finest axis that can be halved (the rule that nnU-Net's planner
    made standard). A thin axis is thus not pooled away, and one of few voxels does not keep the others from it.

    Args:
        shape: voxels per axis.
        spacing: voxel size per axis, in mm.
        stages: number of resolution stages, at least 1.
        min_size: smallest feature map size along an axis that a halving may lead to.
        max_anisotropy: an axis coarser than the finest one by more than this factor waits.

    Returns:
        ``stages`` tuples of 1 and 2.
    """
    size, voxel = [int(s) for s in shape], [float(s) for s in spacing]
    strides: list[tuple[int, ...]] = [(1,) * len(size)]
    for _ in range(stages - 1):
        finest = min((v for v, s in zip(voxel, size, strict=True) if s // 2 >= min_size), default=math.inf)
        stride = tuple(
            2 if s // 2 >= min_size and v <= max_anisotropy * finest else 1 for v, s in zip(voxel, size, strict=True)
        )
        size = [s // k for s, k in zip(size, stride, strict=True)]
        voxel = [v * k for v, k in zip(voxel, stride, strict=True)]
        strides.append(stride)
    return strides


def anisotropic_kernels(
    shape: Sequence[int], spacing: Sequence[float], strides: Sequence[Sequence[int]], *, max_anisotropy: float = 2.0
) -> tuple[tuple[int, ...], ...]:
    """Sizes of the kernels of each stage: 3 along an axis, 1 where neighbours along it are too far apart.

    That is where the stage's voxels are more than ``max_anisotropy`` times coarser than along the finest of the axes
    that are halved, as between thick slices; what was near enough at one stage is so at all that follow (the rule that
    nnU-Net's planner made standard). It is 1 as well along an axis of a single voxel: what joins it to neighbours would
    never be trained.

    Args:
        shape: voxels per axis of the largest patch that is trained.
        spacing: voxel size per axis, in mm.
        strides: of the stages, one tuple each.
        max_anisotropy: an axis coarser than the finest one by more than this factor has kernels of 1.

    Example:
        >>> anisotropic_kernels((216, 256, 9), (1.5, 1.5, 10.0), [(2, 2, 1), (2, 2, 1), (2, 2, 2)])
        ((3, 3, 1), (3, 3, 3), (3, 3, 3))
    """
    halved = [total > 1 for total in total_stride(strides, len(spacing))]
    voxel, kernel = [float(s) for s in spacing], [1] * len(spacing)
    kernels = []
    for stride in strides:
        voxel = [v * k for v, k in zip(voxel, stride, strict=True)]
        finest = min((v for v, is_halved in zip(voxel, halved, strict=True) if is_halved), default=min(voxel))
        near = [s > 1 and v <= max_anisotropy * finest for v, s in zip(voxel, shape, strict=True)]
        kernel = [3 if n else k for n, k in zip(near, kernel, strict=True)]
        kernels.append(tuple(kernel))
    return tuple(kernels)


def halving(shape: Sequence[int], spacing: Sequence[float], *, min_size: int = 4) -> tuple[int, ...]:
    """The stride that halves a volume's own resolution: that of the second stage of :func:`base_strides`.

    Thick axes keep their resolution, so that voxels become more alike on all axes.

    Example:
        >>> halving((216, 256, 9), (1.5, 1.5, 10.0))
        (2, 2, 1)
    """
    return base_strides(shape, spacing, stages=2, min_size=min_size)[1]


def total_stride(strides: Sequence[Sequence[int]], axes: int) -> tuple[int, ...]:
    """Product of the stages' strides along each of ``axes`` axes; 1 where there is no stage."""
    return tuple(math.prod(stride[axis] for stride in strides) for axis in range(axes))


def patch_sizes(size: int, unit: int, *, count: int = 5, min_cells: int = 4) -> list[int]:
    """Candidate patch sizes along one axis, largest first.

    The paper's formula is ``floor(size / S^4) * S^4 - S^4 * k`` for ``k = 0..4`` with ``S`` the stride of a stage (Bae
    et al., MICCAI 2019). ``unit`` stands for ``S^4``: the total stride of the network along this axis. On small
    volumes the formula yields sizes that no network can take (20 voxels give 16, 0, -16, ...); those are clamped to
    ``min_cells`` cells of the deepest feature map, or to all that the data has, and equal candidates are kept once.

    Args:
        size: voxels that the data has along the axis.
        unit: total stride along the axis.
        count: how many candidates the formula makes.
        min_cells: fewest voxels along the axis of the deepest feature map.

    Returns:
        Between one and ``count`` multiples of ``unit``, decreasing.

    Raises:
        SettingError: when ``size``, ``unit`` or ``count`` is not positive.

    Example:
        >>> patch_sizes(320, 16)
        [320, 304, 288, 272, 256]
        >>> patch_sizes(50, 8)
        [48, 40, 32]
        >>> patch_sizes(20, 16)
        [16]
    """
    if min(size, unit, count) < 1:
        raise SettingError(f"size, unit and count must be positive, received {size}, {unit} and {count}.")
    largest = max(size // unit, 1) * unit
    smallest = min(min_cells * unit, largest)
    return list(dict.fromkeys(max(largest - unit * k, smallest) for k in range(count)))


def patch_series(size: int, unit: int, *, ratio: float, min_cells: int = 4) -> list[int]:
    """Candidate patch sizes along one axis in a geometric series, largest first.

    From all that the data has down to ``min_cells`` cells of the deepest feature map, each size about ``ratio`` of the
    one before it, rounded down to a multiple of ``unit``. A volume smaller than that has one candidate.

    Args:
        size: voxels that the data has along the axis.
        unit: total stride along the axis.
        ratio: between 0 and 1, exclusive.
        min_cells: fewest voxels along the axis of the deepest feature map.

    Returns:
        multiples of ``unit``, decreasing.

    Raises:
        SettingError: when ``size`` or ``unit`` is not positive or ``ratio`` is not between 0 and 1.

    Example:
        >>> patch_series(512, 32, ratio=0.7)
        [512, 352, 224, 160, 128]
        >>> patch_series(9, 1, ratio=0.7, min_cells=8)
        [9, 8]
    """
    if min(size, unit) < 1 or not 0 < ratio < 1:
        raise SettingError(
            f"size and unit must be positive and ratio between 0 and 1, received {size}, {unit} and {ratio}."
        )
    largest = max(size // unit, 1) * unit
    smallest = min(min_cells * unit, largest)
    sizes, length = [largest], largest * ratio
    while length >= smallest:
        sizes.append(int(length // unit) * unit)
        length *= ratio
    return list(dict.fromkeys(max(s, smallest) for s in [*sizes, smallest]))


def scaled_channels(channels: Sequence[int], factor: float) -> tuple[int, ...]:
    """Planned channels times a factor, in multiples of 4 where they are 8 or more, at least 1.

    Example:
        >>> scaled_channels((16, 32, 64), 1.5), scaled_channels((16, 32, 64), 0.5)
        ((24, 48, 96), (8, 16, 32))
    """
    if factor == 1:
        return tuple(int(c) for c in channels)
    scaled = [c * factor for c in channels]
    return tuple(max(4 * round(s / 4), 4) if s >= 8 else max(round(s), 1) for s in scaled)

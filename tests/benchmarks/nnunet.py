# SPDX-License-Identifier: Apache-2.0
"""How nnU-Net plans a network for volumes: Isensee et al., Nature Methods 18, 2021, as version 2 of its planner does.

Its 3D network at full resolution for 8 GB of memory. The batch stays at two, the size for which the memory is reckoned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_LEAST_CELLS = 4  # voxels along an axis of the deepest feature map
_FIRST_PATCH = 256**3
_MOST_VALUES = 560_000_000  # in the feature maps of one crop: what 8 GB hold for a batch of two
WIDTH, MOST_CHANNELS = 32, 320


class Topology(NamedTuple):
    """Strides and kernels of the stages, and the patch in multiples of the strides."""

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stages."""
        return tuple(min(WIDTH * 2**stage, MOST_CHANNELS) for stage in range(len(self.strides)))


def plan_topology(shape: Sequence[int], spacing: Sequence[float], classes: int) -> Topology:
    """The patch of the median volume's proportions that fits the memory, with its stages.

    Args:
        shape: of the median volume, voxels per axis.
        spacing: voxel size per axis, in mm.
        classes: background included.

    Example:
        >>> plan = plan_topology((36, 50, 35), (1.0, 1.0, 1.0), 3)
        >>> plan.patch, plan.channels
        ((40, 56, 40), (32, 64, 128, 256))
    """
    edge = (_FIRST_PATCH * math.prod(spacing)) ** (1 / len(shape))
    planned = topology([min(round(edge / mm), size) for mm, size in zip(spacing, shape, strict=True)], spacing)
    while feature_values(planned, classes) > _MOST_VALUES:
        patch = list(planned.patch)
        axis = max(range(len(shape)), key=lambda a: patch[a] / shape[a])
        smaller = [p - u if a == axis else p for a, (p, u) in enumerate(zip(patch, _unit(planned), strict=True))]
        patch[axis] -= _unit(topology(smaller, spacing))[axis]  # or sizes of one halving less would be passed over
        planned = topology(patch, spacing)
    return planned


def topology(size: Sequence[int], spacing: Sequence[float]) -> Topology:
    """The stages for a patch of ``size`` voxels.

    A stage halves the axes whose voxels are less than twice as long as the shortest of those that can be halved, down
    to four voxels. A kernel has length 3 along an axis from the stage on at which its voxels are less than twice as
    long as the shortest, and 1 before; at the deepest stage all are 3.

    Example:
        >>> topology((192, 160, 10), (1.5, 1.5, 10.0)).kernels[:4]
        ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3))
    """
    axes = range(len(size))
    cells, voxel = list(size), list(spacing)
    strides, kernels = [(1,) * len(size)], []
    kernel = [1] * len(size)
    while True:
        long = [a for a in axes if cells[a] >= 2 * _LEAST_CELLS]
        halved = [a for a in long if voxel[a] < 2 * min(voxel[b] for b in long)]
        if not halved or (len(halved) == 1 and cells[halved[0]] < 3 * _LEAST_CELLS):
            break
        kernel = [3 if voxel[a] < 2 * min(voxel) else kernel[a] for a in axes]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if a in halved else 1 for a in axes))
        cells = [math.ceil(cells[a] / strides[-1][a]) for a in axes]
        voxel = [voxel[a] * strides[-1][a] for a in axes]
    kernels.append((3,) * len(size))
    found = Topology(tuple(strides), tuple(kernels), tuple(size))
    return found._replace(patch=tuple(math.ceil(s / u) * u for s, u in zip(size, _unit(found), strict=True)))


def feature_values(planned: Topology, classes: int) -> int:
    """Values in the outputs of all convolutions for one crop, by which nnU-Net reckons the memory.

    Each stage has two convolutions, on the way up as well, where a transposed convolution and the deep supervision's
    output come in addition.

    Example:
        >>> plan = Topology(((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, (8, 8, 8))
        >>> feature_values(plan, 2) == 512 * (2 * 32 + 3 * 32 + 2) + 64 * (2 * 64)
        True
    """
    total, voxels = 0, math.prod(planned.patch)
    for stage, (stride, channels) in enumerate(zip(planned.strides, planned.channels, strict=True)):
        voxels //= math.prod(stride)
        above = 3 * channels + classes if stage < len(planned.strides) - 1 else 0
        total += voxels * (2 * channels + above)
    return total


def _unit(planned: Topology) -> tuple[int, ...]:
    return tuple(math.prod(along) for along in zip(*planned.strides, strict=True))

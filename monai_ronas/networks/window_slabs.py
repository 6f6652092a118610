# SPDX-License-Identifier: Apache-2.0
"""Volumes whose windows cannot be summed up for all classes at once: one slab after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from monai.data.utils import dense_patch_slices

from monai_ronas.networks.classes import most_likely
from monai_ronas.networks.views import View, add_view

SINGLE = 4  # bytes of float32


def sum_bytes(classes: int, voxels: int, *, flips: bool) -> int:
    """Bytes of the sums of a volume's windows and, with flips, of the sum over these and a slab that is added."""
    return SINGLE * classes * voxels * (9 if flips else 4) // 4


class SlabPlan(NamedTuple):
    """How a volume is cut.

    Attributes:
        axis: spatial axis, from 0, across which it is cut.
        thickness: voxels of a slab along it.
    """

    axis: int
    thickness: int


def plan_slabs(
    size: Sequence[int], roi_size: Sequence[int], *, overlap: float, classes: int, flips: bool, most_bytes: float
) -> SlabPlan:
    """The axis with the most windows, and the thickest slabs whose sums fit; one step between windows at least.

    Args:
        size: of the volume, voxels per axis.
        roi_size: of a window.
        overlap: part of a window that it shares with the next.
        classes: number of classes, times the volumes of a batch.
        flips: whether flips are averaged.
        most_bytes: memory for the sums.

    Example:
        >>> plan_slabs((64, 64, 256), (32, 32, 32), overlap=0.5, classes=64, flips=False, most_bytes=2**26)
        SlabPlan(axis=2, thickness=16)
    """
    axis = max(range(len(size)), key=lambda k: size[k] / roi_size[k])
    interval = _interval(size[axis], roi_size[axis], overlap)
    area = math.prod(max(s, r) for k, (s, r) in enumerate(zip(size, roi_size, strict=True)) if k != axis)
    plane = SINGLE * classes * area
    around = 2 * (roi_size[axis] - interval)  # of the windows that reach beyond the slab
    free = (most_bytes - SINGLE * classes * math.prod(roi_size)) / plane - around
    steps = int(free / ((9 if flips else 4) / 4) // interval)
    return SlabPlan(axis, interval * max(1, steps))


def segment_slabs(
    inputs: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
    plan: SlabPlan,
    *,
    roi_size: Sequence[int],
    overlap: float,
    views: Sequence[View] = (View(),),
) -> torch.Tensor:
    """Class indices of a volume, from the windows that the whole volume would have.

    Windows that reach beyond a slab are run for both.

    Args:
        inputs: ``(B, C, H, W[, D])``.
        predict: gives the logits of a part of the volume, stitched from windows.
        plan: how the volume is cut.
        roi_size: of a window.
        overlap: part of a window that it shares with the next.
        views: of the volume, over which the probabilities are averaged.

    Returns:
        ``(B, 1, H, W[, D])`` on the device of the predictions.
    """
    along = plan.axis + 2
    length = inputs.shape[along]

    def logits(view: View, begin: int, end: int) -> torch.Tensor:
        dim = view.place(along)
        flipped = dim in view.flipped
        first, last = (length - end, length - begin) if flipped else (begin, end)
        low, high = _reach(length, roi_size[dim - 2], overlap, first, last)
        part = inputs.narrow(along, length - high if flipped else low, high - low)
        return predict(view.of(part)).narrow(dim, first - low, last - first)

    def indices(begin: int) -> torch.Tensor:
        end = min(begin + plan.thickness, length)
        if len(views) == 1:
            return most_likely(logits(views[0], begin, end))
        total: torch.Tensor | None = None
        for view in views:
            total = add_view(total, logits(view, begin, end), view)
        return most_likely(cast(torch.Tensor, total))

    return torch.cat([indices(begin) for begin in range(0, length, plan.thickness)], along)


def _interval(size: int, window: int, overlap: float) -> int:
    """Voxels from a window to the next along an axis, as MONAI's sliding window has it."""
    return window if size <= window else max(1, int(window * (1 - overlap)))


def _reach(length: int, window: int, overlap: float, begin: int, end: int) -> tuple[int, int]:
    """Begin and end of what the windows cover that have a voxel from ``begin`` to ``end``."""
    if length <= window:
        return 0, length
    windows = dense_patch_slices((length,), (window,), (_interval(length, window, overlap),))
    reached = [w for (w,) in windows if w.start < end and w.stop > begin]
    return reached[0].start, reached[-1].stop

# SPDX-License-Identifier: Apache-2.0
"""Three planes of a segmented volume, small enough to be kept of every case."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

_DARKEST, _BRIGHTEST = 1, 99  # percentiles of the plane


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of a volume, perpendicular to one of its axes.

    Args:
        axis: that axis, in the volume's order.
        index: place of the plane on it, in voxels.
        shape: voxels of the volume along the plane's two axes.
        image: ``(H, W)``, uint8, first channel, from the 1st to the 99th percentile of the plane.
        label: ``(H, W)``, class indices.
        prediction: ``(H, W)``, class indices.
    """

    axis: int
    index: int
    shape: tuple[int, ...]
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


def three_planes(
    image: torch.Tensor, label: torch.Tensor, prediction: torch.Tensor, *, most: int = 256
) -> tuple[Plane, ...]:
    """The plane with the most foreground along each axis.

    Foreground is that of the label, or of the prediction where the label has none; without any, or among equals, it is
    the plane in the middle. Of planes with more than ``most`` voxels along an axis every second (third, ...) voxel is
    kept.

    Args:
        image: ``(C, H, W, D)``.
        label: class indices ``(1, H, W, D)``.
        prediction: class indices ``(1, H, W, D)``.
        most: longest side of a plane that is kept.

    Returns:
        A plane for each axis: 9 bytes a voxel at most, 0.6 MB a case with up to 256 classes.

    Raises:
        ValueError: when the three are not of one size.

    Example:
        >>> label = torch.zeros(1, 8, 6, 4)
        >>> label[0, 2, 1:4, 3] = 1
        >>> [(plane.axis, plane.index, plane.shape) for plane in three_planes(label, label, label)]
        [(0, 2, (6, 4)), (1, 2, (8, 4)), (2, 3, (8, 6))]
    """
    if not image.shape[1:] == label.shape[1:] == prediction.shape[1:]:
        sizes = ", ".join(str(tuple(x.shape[1:])) for x in (image, label, prediction))
        raise ValueError(f"image, label and prediction must be of one size, received {sizes}.")
    foreground = label[0] > 0
    if not bool(foreground.any()):
        foreground = prediction[0] > 0
    planes = []
    for axis in range(foreground.ndim):
        counts = foreground.sum(dim=[a for a in range(foreground.ndim) if a != axis])
        equals = (counts == counts.max()).nonzero()
        index = int(equals[len(equals) // 2])
        whole = [x[0].select(axis, index) for x in (image, label, prediction)]
        steps = [math.ceil(side / most) for side in whole[0].shape]
        grey, truth, found = (x[:: steps[0], :: steps[1]].cpu().numpy() for x in whole)
        kind = np.uint8 if max(truth.max(), found.max()) < 2**8 else np.int32
        sides = tuple(n for a, n in enumerate(foreground.shape) if a != axis)
        planes.append(Plane(axis, index, sides, _grey(grey), truth.astype(kind), found.astype(kind)))
    return tuple(planes)


def _grey(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float32))
    low, high = np.percentile(values, (_DARKEST, _BRIGHTEST))
    return np.clip(255 * (values - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8)

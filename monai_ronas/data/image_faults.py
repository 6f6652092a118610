# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with an image, for verification and preprocessing alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from monai.data.utils import compute_shape_offset

from monai_ronas.data.pieces import pieces

LARGEST_VALUE = 1e15
"""Largest accepted absolute value of a voxel: squares of larger ones are lost in float32."""

SPACING_RANGE = 20.0
"""Largest accepted ratio of a case's voxel size to the usual one, or the reverse, along each axis."""


def value_faults(image: np.ndarray) -> list[str]:
    """Faults of the values of an image.

    Args:
        image: real values, of any shape.

    Returns:
        the faults, in words.

    Example:
        >>> value_faults(np.ones((2, 2, 2)))
        ['the image has the same value, 1, everywhere']
    """
    bad = image.size - sum(int(np.count_nonzero(np.isfinite(piece))) for piece in pieces(image))
    if bad:
        return [f"the image holds {bad} NaN or infinite value(s)"]
    lowest, highest = float(image.min()), float(image.max())
    if max(-lowest, highest) > LARGEST_VALUE:
        largest = max(lowest, highest, key=abs)
        return [f"the image holds {largest:g}, perhaps a mark for no data: replace it (accepted: 1e15)"]
    if lowest == highest:
        return [f"the image has the same value, {lowest:g}, everywhere"]
    return []


def channel_faults(channels: int, declared: int, *, where: str) -> list[str]:
    """The fault of an image with another number of channels than declared, in words, if it is one.

    Args:
        channels: of the image.
        declared: what it should have.
        where: who says so, with a verb, such as ``"dataset.json declares"``.
    """
    if channels == declared:
        return []
    return [f"the image has {channels} channel(s), or moments of time, where {where} {declared}"]


def affine_faults(affine: np.ndarray, *, what: str = "image") -> list[str]:
    """The fault of an affine that cannot be inverted, in words, if it is one.

    Args:
        affine: voxel to world (mm) matrix, ``(4, 4)``.
        what: ``"image"`` or ``"label"``.
    """
    sizes = nib.affines.voxel_sizes(affine)
    if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * sizes.prod():
        return []
    return [f"the {what} has an affine that cannot be inverted, with voxels of {times(sizes)} mm"]


def spacing_faults(shape: Sequence[int], spacing: Sequence[float], usual: Sequence[float]) -> list[str]:
    """The fault of voxels of another scale than the usual one, in words, if it is one.

    Args:
        shape: voxels per axis.
        spacing: size of the voxels in mm, axes in the same order.
        usual: the usual size, likewise.

    Example:
        >>> spacing_faults((9, 9, 9), (1000, 1, 1), (1, 1, 1))[0].rpartition(": ")[2]
        'it would be resampled to 8001 x 9 x 9 voxels'
    """
    sizes, target = np.asarray(spacing, dtype=float), np.asarray(usual, dtype=float)
    if np.maximum(sizes / target, target / sizes).max() <= SPACING_RANGE:
        return []
    size, _ = compute_shape_offset(shape, np.diag([*sizes, 1.0]), np.diag([*target, 1.0]))
    return [
        f"the image has voxels of {times(sizes)} mm where {times(target)} mm are usual in the data set: "
        f"it would be resampled to {times(size)} voxels"
    ]


def times(values: Any) -> str:
    """Numbers as in ``2 x 3 x 4``."""
    return " x ".join(f"{float(value):.6g}" for value in values)

# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a label, and what is put right, for verification and preprocessing alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from monai_ronas.data.errors import Fault
from monai_ronas.data.pieces import pieces

AFFINE_TOLERANCE = 1e-3
"""Largest accepted difference between the affines of image and label, per matrix entry (mm)."""

WHOLE_TOLERANCE = 1e-3
"""Largest difference to a whole number with which a value counts as one."""

OTHER_GRID = "the label has another grid than the image"
"""How the fault of a label on another grid begins."""


def whole_numbers(label: np.ndarray) -> np.ndarray:
    """The label with values that are whole numbers, rounded where they were stored as floating point numbers.

    Args:
        label: values of any type and shape.

    Returns:
        the label; itself where it has whole numbers already.

    Raises:
        Fault: when a value is not a number, or not within :data:`WHOLE_TOLERANCE` of a whole one.

    Example:
        >>> whole_numbers(np.array([0.0, 1.9999999]))
        array([0., 2.])
    """
    if label.dtype.kind not in "iufb":
        raise Fault(f"the label has values of type {label.dtype}, not whole numbers")
    if label.dtype.kind != "f":
        return label.view(np.uint8) if label.dtype.kind == "b" else label
    bad = label.size - sum(int(np.count_nonzero(np.isfinite(piece))) for piece in pieces(label))
    if bad:
        raise Fault(f"the label holds {bad} NaN or infinite value(s)")
    parts = [piece[piece != np.rint(piece)] for piece in pieces(label)]
    other = np.concatenate(parts) if parts else label
    far = other[np.abs(other - np.rint(other)) > WHOLE_TOLERANCE]
    if far.size:
        raise Fault(f"the label holds {far.size} value(s) that are not whole numbers, such as {far[0]}")
    return np.rint(label) if other.size else label


def undeclared_faults(values: Iterable[int], declared: Sequence[int], *, where: str) -> list[str]:
    """The fault of label values that are not declared, in words, if there are any.

    Args:
        values: the values that a label holds.
        declared: those that it may hold.
        where: who says so, with a verb, such as ``"dataset.json does not declare"``.
    """
    undeclared = sorted(set(values) - set(declared))
    if not undeclared:
        return []
    shown = ", ".join(map(str, undeclared[:5])) + (", ..." if len(undeclared) > 5 else "")
    return [f"the label holds {shown}, which {where} (declared: {', '.join(map(str, declared))})"]


def on_image_grid(
    label: np.ndarray, affine: np.ndarray, shape: Sequence[int], target: np.ndarray, *, resample: bool = False
) -> np.ndarray:
    """The label on the grid of its image.

    A label with the same voxels in another order of axes is turned, which loses nothing.

    Args:
        label: values, ``(X, Y, Z)``.
        affine: of the label, voxel to world (mm), ``(4, 4)``.
        shape: of the image.
        target: affine of the image.
        resample: a label on another grid is resampled, by the nearest voxel; 0 outside of it.

    Returns:
        the label, with the image's shape, to which the image's affine belongs.

    Raises:
        Fault: when the label has another grid and is not resampled.

    Example:
        >>> label = np.array([[[0]], [[0]], [[7]]])
        >>> stored = np.diag([-1.0, 1.0, 1.0, 1.0])
        >>> stored[0, 3] = 2.0  # from right to left
        >>> on_image_grid(label, stored, (3, 1, 1), np.eye(4)).ravel()
        array([7, 0, 0])
    """
    shape = tuple(shape)
    if _same_grid(label.shape, affine, shape, target):
        return label
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.io_orientation(target))
    turned = nib.apply_orientation(label, turn)
    if _same_grid(turned.shape, affine @ nib.orientations.inv_ornt_aff(turn, label.shape), shape, target):
        return turned
    if not resample and label.shape != shape:
        raise Fault(f"{OTHER_GRID}: {tuple(label.shape)} voxels, the image {shape}")
    if not resample:
        difference = float(np.abs(affine - target).max())
        raise Fault(f"{OTHER_GRID}: the affines differ by {difference:.4g} (accepted: {AFFINE_TOLERANCE:g})")
    values = label.astype(np.float64) if label.dtype.itemsize == 8 else label  # NIfTI images of nibabel refuse int64
    return np.asanyarray(resample_from_to(nib.Nifti1Image(values, affine), (shape, target), order=0).dataobj)


def _same_grid(shape: Sequence[int], affine: np.ndarray, other: Sequence[int], target: np.ndarray) -> bool:
    return tuple(shape) == tuple(other) and float(np.abs(affine - target).max()) <= AFFINE_TOLERANCE

# SPDX-License-Identifier: Apache-2.0
"""Per-case statistics, collected while a case is verified, from which the fingerprint is made."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from monai.transforms.utils import generate_spatial_bounding_box

from monai_ronas.data.pieces import pieces

QUANTILES = tuple((index + 0.5) / 200 for index in range(200))
"""Levels at which foreground intensities are summarised: the middles of 200 equally likely slices."""

_MAX_FOREGROUND_VOXELS = 100_000


@dataclass(frozen=True)
class CaseStats:
    """What the fingerprint needs to know of one case.

    Attributes:
        name: case name.
        shape: voxels per axis, axes in RAS order.
        spacing: voxel size in mm per axis, axes in RAS order.
        foreground_fraction: size of the box around the voxels above 0, as a fraction of the volume's size per axis in
            RAS order; ones for an image with negative values, where 0 is not background.
        intensity_quantiles: per channel, the intensities of labelled voxels at the levels :data:`QUANTILES`; empty
            for a case without labelled voxels.
        intensity_mean: per channel, mean over labelled voxels; empty for a case without labelled voxels.
        intensity_std: per channel, standard deviation over labelled voxels; empty without labelled voxels.
        label_voxels: voxel count of every declared label value.
    """

    name: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    foreground_fraction: tuple[float, ...]
    intensity_quantiles: tuple[tuple[float, ...], ...]
    intensity_mean: tuple[float, ...]
    intensity_std: tuple[float, ...]
    label_voxels: dict[int, int]


def case_stats(
    name: str, *, image: np.ndarray, label: np.ndarray, affine: np.ndarray, label_voxels: dict[int, int]
) -> CaseStats:
    """Compute the statistics of a decoded case.

    Args:
        name: case name.
        image: intensities, ``(X, Y, Z, C)`` in file order.
        label: label values, ``(X, Y, Z)``.
        affine: voxel to world (mm) matrix, ``(4, 4)``.
        label_voxels: voxel count of every declared label value.

    Returns:
        The statistics, geometry in RAS axis order. At most 100 000 evenly strided labelled voxels are used.
    """
    target = nib.orientations.io_orientation(affine)[:, 0].astype(int)  # RAS axis of every axis of the file
    order = np.argsort(target)
    spacing = nib.affines.voxel_sizes(affine)
    fraction = np.ones(3)
    if image.min() >= 0:
        start, end = generate_spatial_bounding_box(np.moveaxis(image, -1, 0), allow_smaller=True)
        fraction = (np.asarray(end) - np.asarray(start)) / np.asarray(image.shape[:3])

    inside = _some_inside(label.ravel(order="F"))
    values = [image[..., c].ravel(order="F")[inside].astype(np.float64) for c in range(image.shape[-1])]
    values = values if inside.size else []
    return CaseStats(
        name=name,
        shape=tuple(int(image.shape[axis]) for axis in order),
        spacing=tuple(float(spacing[axis]) for axis in order),
        foreground_fraction=tuple(float(fraction[axis]) for axis in order),
        intensity_quantiles=tuple(tuple(np.quantile(v, QUANTILES).tolist()) for v in values),
        intensity_mean=tuple(float(v.mean()) for v in values),
        intensity_std=tuple(float(v.std()) for v in values),
        label_voxels=dict(label_voxels),
    )


def _some_inside(label: np.ndarray) -> np.ndarray:
    """Indices of labelled voxels, evenly strided, at most so many as are used."""
    number = sum(int(np.count_nonzero(piece > 0)) for piece in pieces(label))
    step = max(1, -(-number // _MAX_FOREGROUND_VOXELS))
    chosen, passed, start = [np.empty(0, dtype=np.int64)], 0, 0
    for piece in pieces(label):
        places = np.flatnonzero(piece > 0)
        chosen.append(places[-passed % step :: step] + start)
        passed, start = passed + places.size, start + piece.size
    return np.concatenate(chosen)

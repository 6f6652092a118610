# SPDX-License-Identifier: Apache-2.0
"""Volumes written in any of the formats that are read from files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data.utils import orientation_ras_lps

from monai_ronas.data.formats import ENDINGS, NIFTI, ending


def write_volume(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume in the format that its file's ending tells.

    Args:
        path: the file; its folder is made where it is missing.
        voxels: ``(X, Y, Z)``.
        affine: voxel to world (mm, RAS), ``(4, 4)``.

    Raises:
        ValueError: when the ending is none of :data:`~monai_ronas.data.formats.ENDINGS`.
        OSError: when the file cannot be written.
    """
    if not ending(path):
        raise ValueError(f"the file must end in one of {', '.join(ENDINGS)}, received '{path.name}'.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending(path) in NIFTI:
        nib.save(nib.Nifti1Image(voxels, affine), path)
        return
    import SimpleITK as sitk  # here, as it takes a while

    lps = orientation_ras_lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        sitk.WriteImage(image, str(path), True)
    except RuntimeError as error:
        raise OSError(f"'{path.name}' cannot be written") from error

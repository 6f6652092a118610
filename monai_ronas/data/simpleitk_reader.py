# SPDX-License-Identifier: Apache-2.0
"""A MONAI reader for NRRD, MetaImage and folders of one DICOM series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.data.utils import orientation_ras_lps
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_ronas.data.dicom_series import ordered_slices
from monai_ronas.data.formats import SIMPLEITK, dicom_files, ending, is_dicom

_COMPLEX = {"c8": 32, "c16": 1792}  # as the field datatype of NIfTI headers has it


class SimpleITKReader(ImageReader):
    """Read ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd`` and folders of one DICOM series through SimpleITK.

    Voxels come in the order ``(X, Y, Z)``, or ``(X, Y, Z, C)`` for files of four dimensions and for vectors, and the
    affine in RAS, as nibabel gives them of the same volume in NIfTI. Several files are the channels of one image. The
    slices of a DICOM series are ordered by their positions; slope and intercept are applied, in float32. A DICOM file
    stands for its series, which is how one is read of a folder that holds several.

    Example:
        .. code-block:: python

            LoadImaged("image", reader="monai_ronas.data.SimpleITKReader", ensure_channel_first=True)
    """

    def verify_suffix(self, filename: Sequence[str | os.PathLike[str]] | str | os.PathLike[str]) -> bool:
        """Whether all of the files, or folders, are of these formats."""
        return all(
            bool(dicom_files(path)) if path.is_dir() else ending(path) in SIMPLEITK or is_dicom(path)
            for path in map(Path, ensure_tuple(filename))
        )

    def read(self, data: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], **kwargs: Any) -> Any:
        """Read files or folders.

        Args:
            data: path, or paths of the channels.
            kwargs: unused.

        Returns:
            a pair of voxels and affine (RAS, mm), or a list of such pairs.

        Raises:
            VolumeError: when a folder, or the series of a file, is not one DICOM series that makes a volume.
            RuntimeError: when a file cannot be read.
            ValueError: when a file is of another format.
        """
        paths = [Path(name) for name in ensure_tuple(data)]
        for path in paths:
            if not self.verify_suffix(path):
                raise ValueError(f"'{path.name}' is neither {', '.join(SIMPLEITK)} nor a folder of a DICOM series")
        volumes = [_series(path) if path.is_dir() or not ending(path) else _file(path) for path in paths]
        return volumes[0] if len(volumes) == 1 else volumes

    def get_data(self, img: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Voxels, with the channels last, and the meta data that MONAI's transforms look at.

        Args:
            img: what :meth:`read` has returned.

        Raises:
            ValueError: when files that are channels lie on different grids.
        """
        volumes = img if isinstance(img, list) else [img]
        return data_and_meta(*(stacked(volumes) if len(volumes) > 1 else volumes[0]))


def data_and_meta(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """What ``get_data`` of a reader returns.

    Args:
        voxels: ``(X, Y, Z)`` or ``(X, Y, Z, C)``.
        affine: voxel to world (mm), RAS, ``(4, 4)``.
    """
    meta = {
        MetaKeys.AFFINE: affine.copy(),
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array(voxels.shape[:3]),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if voxels.ndim <= 3 else -1,
        "datatype": _COMPLEX.get(voxels.dtype.str[1:], 0),
    }
    return voxels, {str(getattr(key, "value", key)): value for key, value in meta.items()}


def stacked(volumes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Channels that were read from a file each, as one volume with the channels last.

    Args:
        volumes: voxels and affine of each.

    Raises:
        ValueError: when they lie on different grids.
    """
    first, affine = volumes[0]
    for voxels, other in volumes[1:]:
        if voxels.shape[:3] != first.shape[:3]:
            raise ValueError(f"the files of its channels have {first.shape[:3]} and {voxels.shape[:3]} voxels")
        difference = float(np.abs(other - affine).max())
        if difference > 1e-3:
            raise ValueError(f"the affines of the files of its channels differ by {difference:.4g}")
    return np.concatenate([voxels.reshape(*voxels.shape[:3], -1) for voxels, _ in volumes], axis=-1), affine


def header_size(path: Path) -> tuple[int, ...]:
    """Numbers of voxels per axis, and of channels, of a file by its header.

    Raises:
        RuntimeError: when the header cannot be read.
    """
    import SimpleITK as sitk  # here, as it takes a while

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return (*reader.GetSize(), reader.GetNumberOfComponents())


def _file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk  # here, as it takes a while

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise RuntimeError(_words(error, path)) from error
    voxels = sitk.GetArrayFromImage(image)
    spatial = image.GetDimension()
    voxels = voxels.transpose([*reversed(range(spatial)), *range(spatial, voxels.ndim)])
    size = min(spatial, 3)
    affine = np.eye(4)
    affine[:size, :size] = np.array(image.GetDirection()).reshape(spatial, spatial)[:size, :size]
    affine[:size, :size] *= image.GetSpacing()[:size]
    affine[:size, 3] = image.GetOrigin()[:size]
    return voxels, orientation_ras_lps(affine)


def _series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk  # here, as it takes a while

    files, affine = ordered_slices(path)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(path) for path in files])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # slope and intercept may be each slice's own
    try:
        voxels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise RuntimeError(_words(error, path)) from error
    return voxels.transpose(2, 1, 0), orientation_ras_lps(affine)


def _words(error: Exception, path: Path) -> str:
    """What an error of ITK says, in one line, without places in its source and on the machine."""
    lines = [line.strip() for line in str(error).replace(str(path), path.name).splitlines() if line.strip()]
    words = next((line for line in lines[::-1] if "ERROR:" in line), lines[-1]).rpartition("ERROR:")[2].strip()
    return (words.partition("): ")[2] or words).rstrip(":. ")

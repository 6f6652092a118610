# SPDX-License-Identifier: Apache-2.0
"""The voxels and the affine of a volume of any format, as they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import ImageReader
from monai.utils import ensure_tuple

from monai_ronas.data.compression import check_compression
from monai_ronas.data.formats import NIFTI, dicom_files, ending
from monai_ronas.data.pieces import read_image
from monai_ronas.data.simpleitk_reader import SimpleITKReader, data_and_meta, header_size, stacked


def read_volume(paths: Sequence[Path], *, real: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a volume.

    Args:
        paths: its file or folder, or those of its channels.
        real: give whole numbers of up to 2 bytes as they are, other real values as float32.

    Returns:
        Voxels ``(X, Y, Z)``, or ``(X, Y, Z, C)`` where there are channels, and the affine, voxel to world (mm, RAS),
        ``(4, 4)``.

    Raises:
        Exception: whatever a broken file makes the reader or the decompressor raise, see :func:`broken_file`; a
            ``VolumeError`` with a whole sentence for folders that are not one DICOM series.
    """
    volumes = []
    for path in paths:
        try:
            volumes.append(_read(path, real))
        except Exception as error:
            error.volume_path = path  # type: ignore[attr-defined]
            raise
    return stacked(volumes) if len(volumes) > 1 else volumes[0]


def broken_file(error: Exception, paths: Sequence[Path]) -> Path:
    """The file of a volume, of one of its channels perhaps, that has made :func:`read_volume` raise an error.

    Args:
        error: what was raised.
        paths: the files of the volume.
    """
    return Path(getattr(error, "volume_path", paths[0]))


def volume_values(paths: Sequence[Path]) -> int:
    """Number of values, voxels times channels, of a volume by its headers.

    Raises:
        Exception: whatever a broken file makes the reader raise.
    """
    return sum(math.prod(_size(path)) for path in paths)


def volume_shape(paths: Sequence[Path]) -> tuple[int, int, int, int]:
    """The shape ``(X, Y, Z, C)`` of a volume by its headers.

    Raises:
        Exception: whatever a broken file makes the reader raise.
    """
    sizes = [_size(path) for path in paths]
    x, y, z, *channels = sizes[0]
    return x, y, z, math.prod(channels) if len(sizes) == 1 else len(sizes)


class ChannelFilesReader(ImageReader):
    """Read the channels of an image from a file, or a folder with a DICOM series, each."""

    def verify_suffix(self, filename: Any) -> bool:
        """Whether there are several paths."""
        return len(ensure_tuple(filename)) > 1

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Read files: voxels and affine as :func:`read_volume` gives them."""
        return read_volume([Path(path) for path in ensure_tuple(data)])

    def get_data(self, img: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Voxels, with the channels last, and their meta data."""
        return data_and_meta(*img)


def _read(path: Path, real: bool) -> tuple[np.ndarray, np.ndarray]:
    check_compression(path)
    if ending(path) in NIFTI:
        file: Any = nib.load(path, keep_file_open=True)
        affine = np.asarray(file.affine, dtype=np.float64)
        if real and file.get_data_dtype().kind != "c":
            return read_image(file), affine
        return np.asanyarray(file.dataobj), affine
    voxels, affine = SimpleITKReader().read(path)
    if not real or voxels.dtype.kind == "c" or (voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2):
        return voxels, affine
    return voxels.astype(np.float32, copy=False), affine


def _size(path: Path) -> Sequence[int]:
    if ending(path) in NIFTI:
        file: Any = nib.load(path)
        return [int(size) for size in file.shape]
    if not path.is_dir():
        return header_size(path)
    files = dicom_files(path)
    x, y, *_ = header_size(files[0])
    return [x, y, len(files)]

# SPDX-License-Identifier: Apache-2.0
"""Compressed volumes with a damaged byte, which their readers take for other voxels."""

import gzip
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_ronas.data import LoadVolumed, VolumeError
from monai_ronas.data.reading import read_volume

VOXELS = np.random.default_rng(0).integers(0, 30, (64, 64, 64)).astype(np.int16)


@pytest.fixture(params=["a.nii.gz", "a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def volume(request, tmp_path):
    """A volume, and the file with its voxels."""
    path = tmp_path / request.param
    if path.name == "a.nii.gz":
        nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "a.nii")
        path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes(), compresslevel=0))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), True)
    others = [other for other in tmp_path.iterdir() if other.name not in (path.name, "a.nii")]
    return path, (others or [path])[0]


READERS = [lambda path: LoadVolumed("image")({"image": str(path)}), lambda path: read_volume([path])]


@pytest.mark.parametrize("read", READERS, ids=["preprocessing", "verification"])
def test_voxels_whose_checksum_does_not_hold_are_not_read(volume, read):
    path, data = volume
    read(path)
    damaged = bytearray(data.read_bytes())
    damaged[int(0.6 * len(damaged))] ^= 0xFF
    data.write_bytes(damaged)
    with pytest.raises((VolumeError, gzip.BadGzipFile, zlib.error), match=r"check|CRC|invalid"):
        read(path)


def test_what_is_not_compressed_is_read_as_it_is(tmp_path):
    for name in ("b.mha", "b.mhd", "b.nrrd", "b.nhdr"):
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / name), False)
        assert np.array_equal(read_volume([tmp_path / name])[0], VOXELS.transpose(2, 1, 0))

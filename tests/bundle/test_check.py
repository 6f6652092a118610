# SPDX-License-Identifier: Apache-2.0
"""The part of a volume on which an exported bundle is checked."""

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.bundle import check
from tests.volume_files import write


def test_a_part_for_the_check_is_not_of_one_value(tmp_path):
    data = np.zeros((40, 12, 12), np.float32)
    data[:25], data[5:20] = 3, 9
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii")
    part = check._part([tmp_path / "a.nii"], tmp_path, (1, 1, 1), (8, 8, 8))
    assert part.name == "part.nii"
    found = np.asarray(nib.load(part).dataobj)
    assert found.shape == (8, 8, 8)
    assert found.min() < found.max()


def test_the_bounded_patch_is_a_multiple_of_the_strides():
    assert check._bounded((64, 64, 48), (8, 8, 4)) == (64, 64, 48)
    assert check._bounded((480, 480, 264), (16, 16, 8)) == (128, 128, 72)
    assert check._bounded((2**22, 8, 8), (2**22, 8, 8)) == (2**22, 8, 8)


@pytest.mark.parametrize(
    ("spacing", "shape"), [((0.5, 3.0, 2.0), (16, 16, 8)), ((0.5, 1.5, 4.0), (8, 16, 8)), ((9, 9, 9), (16, 16, 8))]
)
@pytest.mark.parametrize("channels", [(), (2,)])
def test_a_part_has_the_geometry_of_its_image_and_is_where_it_is_brightest(tmp_path, spacing, shape, channels):
    affine = np.array([[0, 0, -0.5, 7], [-3.0, 0, 0, 8], [0, 2.0, 0, 9], [0, 0, 0, 1]])  # file axes are P, S, L
    data = np.zeros((30, 40, 20, *channels), dtype=np.int16)
    data[29, 3, 10] = 5
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "image.nii.gz")
    part = nib.load(check._part([tmp_path / "image.nii.gz"], tmp_path, spacing, (8, 16, 16)))
    assert part.shape == (*shape, *channels)
    values = np.asanyarray(part.dataobj)
    where = np.argwhere(values)[0][:3]
    assert np.allclose(part.affine @ [*where, 1], affine @ [29, 3, 10, 1])
    assert nib.aff2axcodes(part.affine) == nib.aff2axcodes(affine)
    whole = check._part([tmp_path / "image.nii.gz"], tmp_path, (0.5, 3.0, 2.0), (20, 30, 40))
    assert whole == tmp_path / "image.nii.gz"


@pytest.mark.parametrize("size", [(20, 30, 40), (8, 16, 16)])
@pytest.mark.parametrize("names", [("a.nrrd",), ("a.nii", "b.mha"), ("series", "b.nii.gz")])
def test_a_part_of_another_format_is_a_nifti_file(tmp_path, names, size):
    affine = np.array([[0, 0, -0.5, 7], [-3.0, 0, 0, 8], [0, 2.0, 0, 9], [0, 0, 0, 1]])  # file axes are P, S, L
    data = np.zeros((30, 40, 20), dtype=np.int16)
    data[29, 3, 10] = 5
    paths = [write(tmp_path / name, data, affine) for name in names]
    part = nib.load(check._part(paths, tmp_path, (0.5, 3.0, 2.0), size))
    assert part.shape[3:] == ((2,) if len(names) == 2 else ())
    assert part.shape[:3] == ((30, 40, 20) if size[0] == 20 else (16, 16, 8))
    where = np.argwhere(np.asanyarray(part.dataobj))[0][:3]
    assert np.allclose(part.affine @ [*where, 1], affine @ [29, 3, 10, 1], atol=1e-5)

# SPDX-License-Identifier: Apache-2.0
import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data import pieces as module
from monai_ronas.data.pieces import narrowed, pieces, read_image


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 7)


def test_pieces_are_views_in_the_order_of_the_memory():
    values = np.asfortranarray(np.arange(24).reshape(2, 3, 4))
    found = list(pieces(values))
    assert [piece.size for piece in found] == [7, 7, 7, 3]
    assert np.concatenate(found).tolist() == values.ravel(order="F").tolist()
    assert all(np.shares_memory(piece, values) for piece in found)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (np.uint8, np.uint8),
        (np.int16, np.int16),
        (np.uint16, np.uint16),
        (np.int32, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float32),
        (">i2", np.int16),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2), (3, 4)])
def test_an_image_is_read_as_it_is_stored(tmp_path, suffix, dtype, kept, shape):
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"a{suffix}")
    image = read_image(nib.load(tmp_path / f"a{suffix}", keep_file_open=True))
    assert image.dtype == kept
    assert image.flags.f_contiguous
    assert np.array_equal(image, values)


def test_a_scaled_image_is_read_with_its_scale(tmp_path):
    file = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    file.header.set_slope_inter(0.5, -3)
    nib.save(file, tmp_path / "a.nii.gz")
    image = read_image(nib.load(tmp_path / "a.nii.gz"))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, nib.load(tmp_path / "a.nii.gz").get_fdata())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.0, 255.0], np.uint8),
        ([0.0, 256.0], np.uint16),
        ([-1.0, 2.0], np.int8),
        ([-1, 300], np.int16),
        ([0, 2**40], np.int64),
        ([0.0, 0.5], np.float64),
        ([0.0, np.nan], np.float64),
        ([0.0, np.inf], np.float64),
        ([], np.float64),
        (["a"], np.dtype("U1")),
    ],
)
def test_labels_become_small_integers_where_they_are_whole(values, dtype):
    label = np.array(values)
    small = narrowed(label)
    assert small.dtype == dtype
    assert small.tolist() == label.tolist() or np.array_equal(small, label, equal_nan=True)

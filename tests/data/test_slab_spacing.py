# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Spacingd
from scipy.spatial.transform import Rotation

from monai_ronas.data import SlabSpacingd, slab_spacing
from tests.measured_memory import LiveTensors


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(slab_spacing, "PIECE", 50)


def volume(affine, *, channels=2, size=(9, 11, 7)):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(channels, *size)).astype(np.float32))
    return MetaTensor(values, affine=torch.as_tensor(affine))


def oblique():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, -20, 35), degrees=True).as_matrix() * (0.9, 1.3, 2.1)
    affine[:3, 3] = (-3, 5, 7)
    return affine.astype(np.float32).astype(np.float64)  # as a file keeps it


PIXDIMS = [(1.0, 1.0, 1.0), (0.37, 2.6, 2.1), (3.3, 0.71, 5.0)]
AFFINES = {
    "straight": np.diag([0.9, 1.3, 2.1, 1]),
    "flipped": np.diag([-0.9, 1.3, -2.1, 1]),
    "turned": np.diag([0.9, 1.3, 2.1, 1])[[1, 2, 0, 3]],
    "oblique": oblique(),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("pixdim", PIXDIMS)
def test_it_gives_what_monai_gives_and_is_inverted(affine, pixdim):
    image = volume(affine)
    ours, theirs = (Compose([kind("image", pixdim=pixdim, mode="bilinear")]) for kind in (SlabSpacingd, Spacingd))
    found, expected = ours({"image": image})["image"], theirs({"image": image})["image"]
    torch.testing.assert_close(found.as_tensor(), expected.as_tensor(), rtol=1e-4, atol=1e-4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.affine, expected.affine)
    back = [
        Invertd("image", transform=transform, nearest_interp=False)({"image": resampled})["image"]
        for transform, resampled in ((ours, found), (theirs, expected))
    ]
    assert back[0].shape == image.shape
    torch.testing.assert_close(back[0].affine, image.affine.to(back[0].affine))
    torch.testing.assert_close(back[0].as_tensor(), back[1].as_tensor(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("pixdim", PIXDIMS)
def test_the_nearest_voxel_is_the_nearest(affine, pixdim):
    places = torch.from_numpy(np.indices((9, 11, 7)).astype(np.float32))
    image = MetaTensor(places, affine=torch.as_tensor(affine))
    nearest, exact = (
        SlabSpacingd("image", pixdim=pixdim, mode=mode)({"image": image})["image"] for mode in ("nearest", "bilinear")
    )
    assert torch.equal(nearest.as_tensor(), nearest.as_tensor().round())
    assert (nearest - exact).abs().max() < 0.5001
    assert torch.equal(nearest.affine, exact.affine)


def test_what_is_not_at_right_angles_goes_through_monais_own():
    sheared = oblique()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    image = volume(sheared)
    found, expected = (kind("image", pixdim=(1, 1, 1))({"image": image})["image"] for kind in (SlabSpacingd, Spacingd))
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert found.applied_operations[-1]["extra_info"]["dtype"] == "float64"


def test_the_same_voxels_stay_as_they_are():
    image = volume(AFFINES["straight"])
    assert torch.equal(SlabSpacingd("image", pixdim=(0.9, 1.3, 2.1))({"image": image})["image"].as_tensor(), image)


def test_labels_keep_their_size_where_voxels_are_halved():
    label = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    label[:, 2:6, 2:6, 2:6] = 3
    image = MetaTensor(label, affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    found = SlabSpacingd("image", pixdim=(1, 1, 1), mode="nearest")({"image": image})["image"]
    expected = Spacingd("image", pixdim=(1, 1, 1), mode="nearest")({"image": image})["image"]
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert set(found.unique().tolist()) == {0, 3}


def test_the_memory_is_that_of_the_result_and_a_slab(monkeypatch):
    monkeypatch.setattr(slab_spacing, "PIECE", 2**12)
    image = volume(np.eye(4), channels=3, size=(48, 48, 48))
    with LiveTensors() as live:
        found = SlabSpacingd("image", pixdim=(0.9, 0.9, 0.9))({"image": image})["image"]
    assert live.peak < 1.25 * 4 * found.numel()

# SPDX-License-Identifier: Apache-2.0
"""Random deformation of crops."""

import numpy as np
import pytest
import torch
from monai.transforms import Affine, Compose

from monai_ronas.data import RandElasticd

CUBES = (1.0, 1.0, 1.0)
SHAPE = (40, 44, 36)
INNER = (slice(None), *[slice(12, -12)] * 3)
"""Of an item of that shape, what no deformation brings from outside."""


def coordinates(shape=SHAPE) -> torch.Tensor:
    """Places of all voxels, ``(axes, *shape)``."""
    return torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"))


def deformed(seed: int = 0, voxel_size=CUBES, shape=SHAPE, **settings) -> torch.Tensor:
    """Where each voxel was taken from, ``(axes, *shape)``."""
    deform = RandElasticd("image", voxel_size, prob=1.0, padding_mode="border", **settings)
    return deform.set_random_state(seed)({"image": coordinates(shape)})["image"]


def test_without_ranges_nothing_moves():
    still = deformed(rotate_range=0.0, scale_range=0.0, displacement_range=(0.0, 0.0))
    torch.testing.assert_close(still, coordinates(), atol=1e-4, rtol=0)


def test_rotation_and_scale_are_those_of_monai():
    deform = RandElasticd("image", CUBES, prob=1.0, displacement_range=(0.0, 0.0)).set_random_state(3)
    ours = deform({"image": coordinates()})["image"]
    rotate, scale = deform.affine.rotate_params, deform.affine.scale_params
    assert all(0 < abs(angle) <= 0.26 for angle in rotate)
    assert all(0 < abs(factor - 1) <= 0.15 for factor in scale)
    theirs, _ = Affine(rotate_params=rotate, scale_params=scale, padding_mode="zeros")(coordinates())
    torch.testing.assert_close(ours[INNER], theirs[INNER], atol=1e-3, rtol=0)


@pytest.mark.parametrize("deviation", [0.5, 2.0])
def test_points_are_displaced_by_the_deviation_and_voxels_between_them_smoothly(deviation):
    settings = {"rotate_range": 0.0, "scale_range": 0.0, "displacement_range": (deviation, deviation)}
    shape = (43, 43, 43)  # control points at 0, 14, 28 and 42
    moves = torch.stack([deformed(seed, shape=shape, **settings) - coordinates(shape) for seed in range(20)])
    points = moves[:, :, 14:29:14, 14:29:14, 14:29:14]  # those at the border would come from outside
    assert points.numel() == 480
    assert points.mean().abs() < 0.15 * deviation
    assert points.std() == pytest.approx(deviation, rel=0.12)
    middle = moves[:, :, 21, 14:29:14, 14:29:14]
    torch.testing.assert_close(middle, points.mean(dim=2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("thick", [0, 2])
def test_across_thick_slices_nothing_moves(thick):
    voxel_size = tuple(8.0 if axis == thick else 1.0 for axis in range(3))
    shape = tuple(9 if axis == thick else 48 for axis in range(3))
    moves = deformed(1, voxel_size, shape) - coordinates(shape)
    assert moves[thick].abs().max() < 1e-4
    inner = (slice(None), *[slice(None) if axis == thick else slice(14, -14) for axis in range(3)])
    in_the_slices = torch.stack([moves[inner][axis] for axis in range(3) if axis != thick])
    assert (in_the_slices.abs().amax(dim=(1, 2, 3)) > 0.5).all()


def test_image_and_label_move_alike_and_labels_keep_their_values():
    label = (coordinates().sum(0, keepdim=True) // 20).clamp(max=4)
    mode = ("nearest", "nearest")
    deform = RandElasticd(["image", "label"], CUBES, prob=1.0, mode=mode).set_random_state(2)
    done = deform({"image": 10 * label.repeat(2, 1, 1, 1), "label": label, "name": "a"})
    assert torch.equal(done["image"], 10 * done["label"].repeat(2, 1, 1, 1))
    assert set(done["label"].unique().tolist()) <= set(range(5))
    assert not torch.equal(done["label"], label)
    assert done["name"] == "a"


def test_the_seed_of_a_composition_tells_all():
    item = {"image": torch.rand(1, *SHAPE)}
    deform = Compose([RandElasticd("image", CUBES, prob=1.0)])
    first, again, other = (deform.set_random_state(seed)(item)["image"] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_as_many_are_deformed_as_the_probability_says():
    item = {"image": torch.rand(1, 8, 8, 8)}
    deform = RandElasticd("image", CUBES, prob=0.3).set_random_state(0)
    same = [deform(item)["image"] is item["image"] for _ in range(200)]
    assert np.mean(same) == pytest.approx(0.7, abs=0.08)


def test_of_two_axes():
    moves = deformed(0, (1.0, 1.0), (40, 44)) - coordinates((40, 44))
    assert moves.shape == (2, 40, 44)
    assert (moves.abs().amax(dim=(1, 2)) > 0.5).all()


def test_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match="the item has 2 spatial axes, voxel_size 3"):
        RandElasticd("image", CUBES)({"image": torch.rand(1, 8, 8)})

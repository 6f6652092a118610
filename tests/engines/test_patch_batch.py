# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch
from monai.transforms import Compose, RandScaleIntensityd

from monai_ronas.data import ClassIndicesd
from monai_ronas.engines import PatchBatch
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from tests.toys import toy_cases, toy_space

WIDTHS = {"channels": (2, 3, 4), "in_channels": 1, "out_channels": 2}


@pytest.fixture
def network():
    return RonasSuperNet(toy_space(), 1, 2, channels=WIDTHS["channels"])


def test_batch_has_the_selected_architectures_patch(network):
    batch = PatchBatch(network, batch_size=2)
    space = network.space
    for seed in range(5):
        architecture = space.sample(random.Random(seed))
        network.select(architecture)
        image, label = batch(toy_cases(), device="cpu")
        number = batch.crops(architecture)
        assert image.shape == label.shape == (number, 1, *space.patch(architecture))
        assert image.is_contiguous(memory_format=torch.channels_last_3d)


def test_all_architectures_get_about_the_same_operations(network):
    batch = PatchBatch(network, batch_size=8)
    space = network.space
    costs = ResourceEstimator(space, **WIDTHS)
    whole = 8 * costs.macs(space.base)
    numbers = set()
    for seed in range(20):
        architecture = space.sample(random.Random(seed))
        number, cost = batch.crops(architecture), costs.macs(architecture)
        assert abs(number * cost - whole) <= cost / 2 or number == 1
        numbers.add(number)
    assert batch.crops(space.base) == 8
    assert len(numbers) > 1


def test_a_batch_has_no_more_crops_than_fit(network):
    space = network.space
    need = ResourceEstimator(space, **WIDTHS).training_bytes(space.base, crops=3)
    costs = ResourceEstimator(space, **WIDTHS, memory_gb=1.1 * need / 2**30)
    assert PatchBatch(network, batch_size=8, resources=costs).crops(space.base) == 3


def test_image_and_label_are_cut_and_flipped_alike(network):
    volume = torch.arange(16 * 16 * 8.0).reshape(1, 16, 16, 8)
    image, label = PatchBatch(network, batch_size=6)([{"image": volume, "label": volume.clone()}])
    assert torch.equal(image, label)
    assert len({tuple(crop.flatten().tolist()) for crop in image}) > 1  # flips differ


def test_a_crop_is_a_part_of_the_volume_never_resized():
    space = RonasSpace((16, 16, 8), stages=3, min_cells=2)
    network = RonasSuperNet(space, 1, 2, channels=(2, 3, 4))
    volume = torch.arange(24 * 20 * 10.0).reshape(1, 24, 20, 10)
    image, _ = PatchBatch(network, batch_size=4, flip_axes=())([{"image": volume, "label": volume}])
    for crop in image:
        assert crop[0, 1, 0, 0] - crop[0, 0, 0, 0] == 200
        assert crop[0, 0, 1, 0] - crop[0, 0, 0, 0] == 10
        assert crop[0, 0, 0, 1] - crop[0, 0, 0, 0] == 1


def test_a_small_volume_is_padded_with_zeros_on_both_sides(network):
    volume = torch.ones(1, 10, 16, 8)
    image, _ = PatchBatch(network, batch_size=1, flip_axes=())([{"image": volume, "label": volume}])
    assert image.shape[2:] == (16, 16, 8)
    assert torch.equal(image[0, 0, :, 0, 0], torch.tensor([0.0] * 3 + [1.0] * 10 + [0.0] * 3))


def test_foreground_crops_hold_the_foreground_voxel():
    space = RonasSpace((16, 16, 8), stages=3, min_cells=2)
    network = RonasSuperNet(space, 1, 2, channels=(2, 3, 4))
    volume = torch.zeros(1, 64, 64, 32)
    volume[0, 60, 3, 30] = 1
    case = ClassIndicesd(keys="label", num_classes=2)({"image": volume, "label": volume})
    always, never = PatchBatch(network, batch_size=8, foreground=1.0), PatchBatch(network, batch_size=8, foreground=0.0)
    assert all(crop.sum() == 1 for crop in always([case])[1])
    assert not all(crop.sum() == 1 for crop in never([case])[1])


def test_each_class_is_as_likely_as_the_others_however_few_its_voxels():
    space = RonasSpace((16, 16, 8), stages=3, min_cells=2)
    network = RonasSuperNet(space, 1, 2, channels=(2, 3, 4))
    label = torch.zeros(1, 64, 64, 32)
    label[0, 36:, :, :] = 1  # far from the others
    label[0, 3, 3, 3] = 3
    case = ClassIndicesd(keys="label", num_classes=4)({"image": label, "label": label})
    batch = PatchBatch(network, batch_size=200, foreground=1.0, seed=0)
    _, crops = batch([case])
    rare = [bool((crop == 3).any()) for crop in crops]
    assert 80 <= sum(rare) <= 120  # half of 200: the case has two of the three classes
    assert all((crop == 1).any() for crop, has in zip(crops, rare, strict=True) if not has)


def test_a_case_without_foreground_is_cropped_anywhere(network):
    volume = torch.rand(1, 24, 24, 16)
    case = ClassIndicesd(keys="label", num_classes=2)({"image": volume, "label": torch.zeros_like(volume)})
    plain = {key: case[key] for key in ("image", "label")}
    cut, expected = (PatchBatch(network, batch_size=3, foreground=1.0)([item])[0] for item in (case, plain))
    assert torch.equal(cut, expected)


def test_two_dimensions():
    space = RonasSpace((32, 32))
    network = RonasSuperNet(space, 1, 2, channels=(2, 2, 2, 2))
    image, _ = PatchBatch(network, batch_size=2)([{"image": torch.ones(1, 40, 40), "label": torch.ones(1, 40, 40)}])
    assert image.shape == (2, 1, *space.patch(space.base))


def test_same_seed_same_crops(network):
    one, two = (PatchBatch(network, batch_size=3, seed=7)(toy_cases())[0] for _ in range(2))
    other = PatchBatch(network, batch_size=3, seed=8)(toy_cases())[0]
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_augmentation_is_run_on_the_crops_and_follows_the_seed(network):
    augmentation = Compose([RandScaleIntensityd(keys="image", prob=1.0, factors=0.5)])
    volume = torch.ones(1, 10, 16, 8)
    case = {"image": volume, "label": volume}

    def batches(seed):
        batch = PatchBatch(network, batch_size=2, augmentation=augmentation, seed=seed)
        return [batch([case]) for _ in range(2)]

    (image, label), (later, _) = batches(0)
    assert torch.equal(label.unique(), torch.tensor([0.0, 1.0]))
    scales = [crop.max().item() for crop in (*image, *later)]
    assert len(set(scales)) == 4
    assert all(0.5 <= s <= 1.5 for s in scales)
    assert type(image) is torch.Tensor  # without the metadata that MONAI's transforms add
    assert image[0, 0, 0, 0, 0] == 0.0  # the padding comes after the augmentation
    assert torch.equal(batches(0)[1][0], later)
    assert not torch.equal(batches(1)[0][0], image)


def test_half_of_the_crops_have_two_axes_exchanged_and_all_are_parts_of_the_volume():
    space = RonasSpace((16, 32, 8), stages=3, min_cells=2)
    network = RonasSuperNet(space, 1, 2, channels=(2, 3, 4))
    assert space.patch(space.base) == (16, 32, 8)
    volume = torch.arange(36 * 40 * 10.0).reshape(1, 36, 40, 10)
    case = {"image": volume, "label": volume.clone()}
    batch = PatchBatch(network, batch_size=40, flip_axes=(), transposed_axes=(0, 1), seed=2)
    image, label = batch([case])
    assert image.shape[2:] == (16, 32, 8)
    assert torch.equal(image, label)
    steps = [
        tuple(int(crop[0, i, j, k] - crop[0, 0, 0, 0]) for i, j, k in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        for crop in image
    ]
    assert set(steps) == {(400, 10, 1), (10, 400, 1)}
    assert 10 < steps.count((10, 400, 1)) < 30


def test_an_exchanged_crop_has_its_foreground_in_the_middle_too():
    space = RonasSpace((8, 16, 8), stages=3, min_cells=2)
    network = RonasSuperNet(space, 1, 2, channels=(2, 3, 4))
    label = torch.zeros(1, 40, 40, 8)
    label[:, 30, 10, 4] = 1
    case = ClassIndicesd(keys="label", num_classes=2)({"image": label.clone(), "label": label})
    _, crops = PatchBatch(network, batch_size=20, flip_axes=(), transposed_axes=(0, 1), foreground=1.0)([case])
    assert {tuple(crop[0].nonzero()[0].tolist()) for crop in crops} == {(4, 8, 4)}

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, AsDiscreted, Compose, CropForegroundd, Invertd, Orientationd

from monai_ronas.bundle import InvertToClassesd
from monai_ronas.data import SlabSpacingd
from tests.measured_memory import LiveTensors

CLASSES = 20


@pytest.fixture
def case():
    values = np.zeros((1, 20, 22, 18), np.float32)
    values[:, 2:19, 3:20, 1:16] = np.random.default_rng(0).uniform(1, 2, (17, 17, 15))
    image = MetaTensor(torch.from_numpy(values), affine=torch.diag(torch.tensor([-1.0, 1.3, 0.8, 1.0])))
    transform = Compose(
        [
            Orientationd("image", axcodes="RAS"),
            SlabSpacingd("image", pixdim=(1.2, 1.2, 1.2)),
            CropForegroundd("image", source_key="image", allow_smaller=True, start_coord_key=None, end_coord_key=None),
        ]
    )
    return transform, transform({"image": image}), image


def test_it_gives_what_monais_transforms_give_one_after_the_other(case):
    transform, item, image = case
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(CLASSES, *item["image"].shape[1:]))).float()
    item["pred"] = logits.clone()
    stock = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", transform=transform, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
        ]
    )
    expected = stock({**item, "pred": MetaTensor(logits.clone())})["pred"]
    found = InvertToClassesd("pred", transform=transform)(item)["pred"]
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert found.shape == image.shape
    assert torch.equal(found.affine, expected.affine)
    assert found.dtype == expected.dtype
    assert len(found.unique()) == CLASSES


def test_class_indices_go_to_the_nearest_voxel(case):
    transform, item, image = case
    item["pred"] = torch.full((1, *item["image"].shape[1:]), 7, dtype=torch.uint8)
    found = InvertToClassesd("pred", transform=transform)(item)["pred"]
    assert found.shape == image.shape
    assert set(found.unique().tolist()) == {0, 7}
    assert (found == 7)[:, 4:17, 5:18, 3:14].all()


def test_one_class_at_a_time_needs_little_memory_beside_the_prediction(case):
    transform, item, image = case
    item["pred"] = torch.zeros(CLASSES, *item["image"].shape[1:])
    with LiveTensors() as live:
        InvertToClassesd("pred", transform=transform)(item)
    assert live.peak < 10 * 4 * image.numel()  # where all classes at once take 20 times that, several times over

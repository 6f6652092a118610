# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.data.compact import CompactCase


def case(label, **more):
    image = MetaTensor(torch.arange(24, dtype=torch.float32).reshape(1, 4, 3, 2).movedim(1, 3))
    return {"image": image, "label": label, **more}


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(1, torch.uint8), (255, torch.uint8), (256, torch.int16), (2**15 - 1, torch.int16), (2**15, torch.int32)],
)
def test_labels_are_small_integers(largest, kind):
    label = torch.zeros(1, 3, 2, 4)
    label[0, 2, 1, 3] = largest
    compact = CompactCase()(case(label))
    assert compact["label"].dtype == kind
    assert torch.equal(compact["label"].float(), label)
    assert compact["label_fg_indices"].tolist() == [23]


def test_what_is_no_whole_number_stays():
    label = torch.full((1, 3, 2, 4), 0.5)
    assert torch.equal(CompactCase()(case(label))["label"], label)


def test_tensors_are_plain_contiguous_and_own_their_memory():
    given = case(torch.ones(1, 3, 2, 8)[..., ::2], more=np.arange(3), name="a")
    compact = CompactCase()(given)
    assert type(compact["image"]) is type(compact["more"]) is torch.Tensor
    assert compact["image"].dtype == torch.float32
    assert torch.equal(compact["image"], given["image"].as_tensor())
    for key in ("image", "label", "label_fg_indices", "more"):
        assert compact[key].is_contiguous()
        assert compact[key].untyped_storage().nbytes() == compact[key].nbytes
    assert compact["name"] == "a"
    assert not given["image"].is_contiguous()


def test_of_many_foreground_voxels_evenly_strided_ones_stay():
    label = torch.zeros(1, 64, 64, 64)
    label[0, 3:] = 1
    indices = CompactCase()(case(label))["label_fg_indices"]
    expected = torch.arange(3 * 64**2, 64**3, 3)
    assert torch.equal(indices, expected)
    assert len(indices) <= 100_000


def test_indices_that_are_there_are_kept():
    given = torch.tensor([5, 7, 9])
    assert torch.equal(CompactCase()(case(torch.ones(1, 3, 2, 4), label_fg_indices=given))["label_fg_indices"], given)


def test_no_foreground():
    assert CompactCase()(case(torch.zeros(1, 3, 2, 4)))["label_fg_indices"].shape == (0,)

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


def test_what_is_no_whole_number_stays():
    label = torch.full((1, 3, 2, 4), 0.5)
    assert torch.equal(CompactCase()(case(label))["label"], label)


def test_tensors_are_plain_contiguous_and_own_their_memory():
    given = case(torch.ones(1, 3, 2, 8)[..., ::2], more=np.arange(3), name="a", number=3)
    compact = CompactCase()(given)
    assert type(compact["image"]) is type(compact["more"]) is torch.Tensor
    assert compact["image"].dtype == torch.float32
    assert torch.equal(compact["image"], given["image"].as_tensor())
    for key in ("image", "label", "more"):
        assert compact[key].is_contiguous()
        assert compact[key].untyped_storage().nbytes() == compact[key].nbytes
    assert (compact["name"], compact["number"]) == ("a", 3)
    assert not given["image"].is_contiguous()

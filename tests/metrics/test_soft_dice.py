# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.metrics import SoftDiced, soft_dice


def reference(logits, label):
    p = logits.double().softmax(dim=0)
    found = []
    for k in range(1, len(logits)):
        y = (label[0] == k).double()
        found.append(float(2 * (p[k] * y).sum() / (p[k].sum() + y.sum())) if y.any() else math.nan)
    return found


@pytest.mark.parametrize("shape", [(5, 6, 4), (7, 8)])
def test_values_are_those_of_the_formula(shape):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, *shape, generator=generator)
    label = torch.randint(4, (1, *shape), generator=generator)
    assert soft_dice(logits, label).tolist() == pytest.approx(reference(logits, label), rel=1e-5)
    assert soft_dice(logits, label.float()).tolist() == pytest.approx(reference(logits, label), rel=1e-5)


def test_a_sure_prediction_has_its_hard_dice():
    label = torch.tensor([[[0, 1, 1, 2, 2, 2]]])
    predicted = torch.tensor([[0, 1, 2, 2, 2, 0]])
    logits = 100.0 * torch.nn.functional.one_hot(predicted, 3).movedim(-1, 0)
    assert soft_dice(logits, label).tolist() == pytest.approx([2 * 1 / 3, 2 * 2 / 6])


def test_a_class_that_the_label_does_not_have_is_no_number():
    found = soft_dice(torch.zeros(3, 2, 2), torch.ones(1, 2, 2))
    assert float(found[0]) == pytest.approx(2 * 4 / 3 / (4 / 3 + 4))
    assert math.isnan(found[1])
    assert soft_dice(torch.zeros(2, 2, 2), torch.zeros(1, 2, 2)).isnan().all()


def test_large_logits_of_half_precision_do_not_overflow():
    logits = torch.tensor([[[-60000.0, 0.0]], [[60000.0, 0.0]]], dtype=torch.float16)
    found = soft_dice(logits, torch.tensor([[[1, 0]]]))
    assert found.dtype == torch.float32
    assert float(found[0]) == pytest.approx(2 / 2.5)


def test_the_transform_adds_to_the_item_and_changes_nothing():
    logits, label = torch.randn(3, 4, 4), torch.randint(3, (1, 4, 4))
    item = {"pred": MetaTensor(logits), "label": MetaTensor(label), "image": 1}
    found = SoftDiced()(item)
    assert set(item) == {"pred", "label", "image"}
    assert found["pred"] is item["pred"]
    assert torch.equal(found["soft_dice"], soft_dice(logits, label))
    assert type(found["soft_dice"]) is torch.Tensor
    named = SoftDiced("logits", label_key="truth", output_key="d")({"logits": logits, "truth": label})
    assert torch.equal(named["d"], found["soft_dice"])
    assert SoftDiced(allow_missing_keys=True)({"label": label}).keys() == {"label"}
    with pytest.raises(KeyError, match="pred"):
        SoftDiced()({"label": label})

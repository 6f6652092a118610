# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.metrics import DiceMetric

from monai_ronas.metrics import IgnoredToBackgroundd, soft_dice


@pytest.fixture
def volumes():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8, 7, 6, generator=generator)
    label = torch.randint(0, 3, (1, 8, 7, 6), generator=generator)
    ignored = torch.rand(1, 8, 7, 6, generator=generator) < 0.3
    return logits, label, ignored


def hard_dice(item):
    pred = item["pred"].argmax(dim=0, keepdim=True)
    return DiceMetric(include_background=False, num_classes=3)(pred[None], item["label"][None])[0]


def test_ignored_voxels_count_in_no_score(volumes):
    logits, label, ignored = volumes
    told = label.masked_fill(ignored, 3)
    kept = ~ignored[0]
    flat = {"pred": logits[:, kept][..., None, None], "label": label[:, kept][..., None, None]}
    found = IgnoredToBackgroundd("pred")({"pred": logits, "label": told})
    torch.testing.assert_close(hard_dice(found), hard_dice(flat))
    torch.testing.assert_close(soft_dice(logits, told), soft_dice(flat["pred"], flat["label"]))
    other = torch.where(ignored, 9 * torch.randn_like(logits), logits)
    torch.testing.assert_close(soft_dice(other, told), soft_dice(logits, told))
    torch.testing.assert_close(
        hard_dice(IgnoredToBackgroundd("pred")({"pred": other, "label": told})), hard_dice(found)
    )


def test_items_without_ignored_voxels_stay_as_they_are(volumes):
    logits, label, _ = volumes
    item = IgnoredToBackgroundd("pred")({"pred": logits, "label": label})
    assert item["pred"] is logits
    assert item["label"] is label


def test_the_items_of_others_are_not_changed(volumes):
    logits, label, ignored = volumes
    told = label.masked_fill(ignored, 3)
    before = logits.clone(), told.clone()
    IgnoredToBackgroundd("pred")({"pred": logits, "label": told})
    assert torch.equal(logits, before[0])
    assert torch.equal(told, before[1])

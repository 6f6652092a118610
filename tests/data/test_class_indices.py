# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ClassesToIndicesd

from monai_ronas.data import ClassIndicesd


def label_of(shape=(1, 9, 8, 7), classes=5):
    label = torch.randint(classes, shape, generator=torch.Generator().manual_seed(0)).float()
    label[label == 2] = 0
    return label


@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_the_indices_are_those_of_monai_without_the_background(kind):
    label = label_of()
    item = ClassIndicesd(keys="label", num_classes=5)({"label": kind(label)})
    found = item["label_class_indices"].split(item["label_class_counts"].tolist())
    expected = ClassesToIndicesd(keys="label", num_classes=5)({"label": label})["label_cls_indices"]
    assert len(found) == 4
    assert all(type(indices) is torch.Tensor and indices.dtype == torch.int32 for indices in found)
    assert [len(indices) > 0 for indices in found] == [True, False, True, True]
    for indices, others in zip(found, expected[1:], strict=True):
        assert indices.tolist() == others.tolist()


def test_a_large_class_keeps_a_part_from_everywhere():
    label = torch.ones(1, 10, 10, 10)
    item = ClassIndicesd(keys="label", num_classes=2, max_samples_per_class=4)({"label": label})
    assert item["label_class_indices"].tolist() == [0, 333, 666, 999]
    assert item["label_class_counts"].tolist() == [4]


def test_the_item_itself_is_left_as_it_is():
    item = {"label": label_of()}
    ClassIndicesd(keys="label", num_classes=5)(item)
    assert list(item) == ["label"]

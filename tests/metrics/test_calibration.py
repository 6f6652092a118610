# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from monai_ronas.metrics import fit_temperature, near_foreground, reliability, sampled, tempered


def drawn(number=20000, classes=3, seed=0):
    """Logits, and labels drawn from their probabilities."""
    random = np.random.default_rng(seed)
    said = tempered(random.normal(0, 2, (number, classes)), 1.0)
    labels = (random.random((number, 1)) > np.exp(said).cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return said, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_network_too_sure(factor):
    said, labels = drawn()
    too_sure = tempered(said, 1 / factor)
    temperature = fit_temperature([too_sure], [labels])
    assert temperature == pytest.approx(factor, rel=0.04)
    before, after = (reliability([too_sure], [labels], temperature=t) for t in (1.0, temperature))
    assert after.expected_error < 0.012
    assert after.brier <= before.brier + 1e-4  # of the likelihood, not of this, it is the best
    if factor != 1.0:
        assert before.expected_error > 0.08
    assert np.array_equal(tempered(too_sure, temperature).argmax(axis=1), too_sure.argmax(axis=1))


def test_every_case_counts_the_same():
    said, labels = drawn()
    few, many = slice(0, 2000), slice(2000, None)
    sure = tempered(said, 0.5)
    together = fit_temperature([sure[few], said[many]], [labels[few], labels[many]])
    other = fit_temperature([sure[few], said[few]], [labels[few], labels[few]])
    assert together == pytest.approx(other, rel=0.05)


def test_it_stays_within_its_bounds_and_is_one_without_voxels():
    right = np.log([[0.6, 0.4]])
    assert fit_temperature([right], [np.array([0])]) == pytest.approx(0.1, rel=0.01)
    assert fit_temperature([right], [np.array([1])]) == pytest.approx(10, rel=0.01)
    assert fit_temperature([np.zeros((0, 2))], [np.zeros(0, int)]) == 1.0


def test_voxels_near_the_foreground_of_label_and_prediction_but_none_to_be_ignored():
    label, said = torch.zeros(2, 1, 12, 12, 12)
    label[0, 2, 2, 2] = 1
    said[0, 9, 9, 9] = 1
    label[0, 3, 3, 3] = 2  # to be ignored
    near = near_foreground(label, said, num_classes=2)
    assert int(near.sum()) == 2 * 125 - 1
    assert near[0, 0, 0, 0]
    assert near[0, 11, 11, 11]
    assert not near[0, 3, 3, 3]
    assert not near[0, 6, 6, 6]


def test_a_sample_is_evenly_spread_and_has_the_voxels_own_values():
    random = torch.Generator().manual_seed(0)
    said = torch.randn(3, 6, 6, 6, generator=random).log_softmax(dim=0)
    label = torch.randint(0, 3, (1, 6, 6, 6), generator=random)
    every = sampled(said, label, most=10**6)
    assert every[0].shape == (216, 3)
    assert np.array_equal(every[1], label.flatten().numpy())
    assert np.allclose(every[0], said.flatten(1).T)
    part = sampled(said, label, most=100)
    assert len(part[1]) == 72  # every third
    assert np.array_equal(part[0], every[0][::3])
    none = sampled(
        torch.tensor([0.9, 0.1]).log().expand(4, 4, 4, 2).permute(3, 0, 1, 2), torch.zeros(1, 4, 4, 4), most=9
    )
    assert none[0].shape == (0, 2)


def test_bins_hold_their_voxels():
    said = np.log([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.35, 0.65], [1 - 1e-12, 1e-12]])
    found = reliability([said[:3], said[3:]], [np.array([0, 1, 0]), np.array([0, 0])], bins=10)
    assert found.count == (0, 0, 0, 0, 0, 1, 1, 0, 0, 3)
    assert found.sure[5] == pytest.approx(0.55)
    assert (found.right[5], found.right[6], found.right[9]) == (1.0, 0.0, pytest.approx(2 / 3))
    assert np.isnan(found.right[0])
    gap = 0.45 + 0.65 + 3 * abs(2.9 / 3 - 2 / 3)
    assert found.expected_error == pytest.approx(gap / 5)
    squares = [2 * 0.05**2, 2 * 0.95**2, 2 * 0.45**2, 2 * 0.65**2, 0.0]
    assert found.brier == pytest.approx(np.mean(squares))


def test_voxels_whose_logits_are_no_numbers_are_left_out():
    label = torch.zeros(1, 6, 6, 6)
    label[0, 2:4, 2:4, 2:4] = 1
    logits = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    all_said, all_labels = sampled(logits, label, most=1000)
    logits[1, 2, 2, 2], logits[0, 5, 5, 5] = float("nan"), float("inf")
    logits[0, 3, 3, 3] = -float("inf")  # as of a probability of 0, which is one
    said, labels = sampled(logits, label, most=1000)
    assert float(np.exp(said).min()) < 1e-6
    assert len(said) == len(labels) == len(all_said) - 2
    assert int(labels.sum()) == int(all_labels.sum()) - 1
    assert np.isfinite(said).all()
    assert sum(reliability([said], [labels]).count) == len(said)
    none = sampled(logits * float("nan"), label, most=1000)
    assert none[0].shape == (0, 2)
    with_none, without = reliability([said, none[0]], [labels, none[1]]), reliability([said], [labels])
    assert (with_none.count, with_none.brier) == (without.count, without.brier)
    assert fit_temperature([none[0]], [none[1]]) == 1.0

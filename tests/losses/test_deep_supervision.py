# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss

from monai_ronas.losses import AreaDeepSupervisionLoss


def label(*size):
    return torch.randint(0, 3, (2, 1, *size), generator=torch.Generator().manual_seed(0)).float()


def test_at_the_labels_own_resolution_it_is_monais_loss():
    logits = torch.randn(2, 3, 8, 6, 4)
    ours = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True))(logits, label(8, 6, 4))
    theirs = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)(logits, label(8, 6, 4))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("size", "stride"), [((8, 6, 4), (2, 2, 1)), ((8, 8), (4, 2))])
def test_a_coarse_level_is_compared_with_the_share_of_each_class(size, stride):
    values = label(*size)
    coarse = tuple(s // k for s, k in zip(size, stride, strict=True))
    seen = []

    def loss(logits, shares):
        seen.append(shares)
        return logits.mean()

    AreaDeepSupervisionLoss(loss)([torch.zeros(2, 3, *size), torch.zeros(2, 3, *coarse)], values)
    assert torch.equal(seen[0].argmax(dim=1, keepdim=True), values.long())
    block = (0, 0, *(slice(k) for k in stride))
    for value in range(3):
        share = (values[block] == value).float().mean()
        assert seen[1][(0, value, *(0 for _ in size))] == pytest.approx(float(share))
    torch.testing.assert_close(seen[1].sum(dim=1), torch.ones(2, *coarse))


def test_the_weights_of_the_levels_are_monais():
    levels = [torch.zeros(1, 2, 8, 8, 8), torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 2, 2, 2)]
    one = AreaDeepSupervisionLoss(lambda logits, shares: torch.ones(()))(levels, torch.zeros(1, 1, 8, 8, 8))
    assert float(one) == sum(DeepSupervisionLoss(DiceCELoss()).get_weights(3))


def test_a_level_that_does_not_divide_the_label_is_refused():
    with pytest.raises(ValueError, match="must divide those of the label"):
        AreaDeepSupervisionLoss(DiceCELoss(softmax=True))([torch.zeros(1, 2, 3, 3, 3)], torch.zeros(1, 1, 8, 8, 8))


def levels_and_label(seed=0):
    generator = torch.Generator().manual_seed(seed)
    levels = [torch.randn(2, 3, n, n, n, generator=generator, requires_grad=True) for n in (8, 4)]
    return levels, torch.randint(0, 3, (2, 1, 8, 8, 8), generator=generator)


@pytest.mark.parametrize("loss", [DiceCELoss(softmax=True, batch=True), DiceLoss(softmax=True, batch=True)])
def test_without_ignored_voxels_the_loss_is_the_same(loss):
    levels, label = levels_and_label()
    expected = AreaDeepSupervisionLoss(loss)(levels, label)
    torch.testing.assert_close(AreaDeepSupervisionLoss(loss, ignore=True)(levels, label), expected)


def test_ignored_voxels_count_at_no_level():
    levels, label = levels_and_label()
    label[:, :, :, :, 3:] = 3  # halfway through a coarse voxel
    loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True), ignore=True)
    value = loss(levels, label)
    value.backward()
    assert not levels[0].grad[..., 3:].any()
    assert not levels[1].grad[..., 2:].any()
    assert levels[0].grad[..., :3].all()
    assert levels[1].grad[..., :2].all()
    cut = [levels[0][..., :2], levels[1][..., :1]]
    told = label.clone()
    told[:, :, :, :, 2:] = 3
    torch.testing.assert_close(loss(levels, told), AreaDeepSupervisionLoss(loss.loss)(cut, label[..., :2]))


def test_a_batch_of_ignored_voxels_moves_nothing():
    levels, label = levels_and_label()
    value = AreaDeepSupervisionLoss(DiceCELoss(softmax=True), ignore=True)(levels, torch.full_like(label, 3))
    value.backward()
    assert value == 0
    assert not any(level.grad.any() for level in levels)

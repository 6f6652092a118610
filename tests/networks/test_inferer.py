# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.space import RonasSpace


def test_a_training_crop_that_the_strides_do_not_divide_is_refused():
    net = RonasUNet(3, 1, 2, channels=(4, 8, 16), strides=(1, 2, 2), dilations=(1, 1, 1)).train()
    assert len(PadToStrideInferer()(torch.randn(1, 1, 8, 8, 8), net)) == 2
    with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\) .* got \(8, 8, 6\)"):
        PadToStrideInferer()(torch.randn(1, 1, 8, 8, 6), net)
    with pytest.raises(ValueError, match="no smaller than the training patch"):
        PadToStrideInferer(roi_size=(16, 16, 16))(torch.randn(1, 1, 8, 8, 8), net)


def test_inferer_pads_with_zeros_on_both_sides():
    seen = []

    def network(x):
        seen.append(x)
        return x

    x = torch.ones(1, 1, 5, 8, 7)
    y = PadToStrideInferer((4, 4, 4))(x, network)
    assert torch.equal(x, y)
    assert seen[0].shape == (1, 1, 8, 8, 8)
    assert seen[0][0, 0, 0].sum() == 0
    assert seen[0][0, 0, 6:].sum() == 0


def test_a_volume_too_large_for_one_shot_goes_through_windows():
    torch.manual_seed(0)
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 2), dilations=(1, 1)).eval()
    sizes = []
    net.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    volume = torch.randn(1, 1, 13, 9, 7)
    inferer = PadToStrideInferer(max_voxels=13 * 9 * 7 - 1, roi_size=(8, 8, 8))
    expected = SlidingWindowInferer((8, 8, 8), overlap=0.5, mode="gaussian")(volume, net)
    sizes.clear()
    torch.testing.assert_close(inferer(volume, net), expected)
    assert set(sizes) == {(8, 8, 8)}
    sizes.clear()
    PadToStrideInferer(max_voxels=13 * 9 * 8, roi_size=(8, 8, 8))(volume, net)  # 7 voxels are padded to the window's 8
    assert sizes == [(14, 10, 8)]


def test_a_volume_smaller_than_the_training_patch_is_padded_up_to_it():
    space = RonasSpace((16, 16, 16), stages=3, searched_strides=(3,), dilated_stages=(2,), min_cells=2)
    supernet = RonasSuperNet(space, 1, 2, channels=(2, 3, 4)).eval()
    derived = supernet.derive(space.base)
    volume = torch.randn(1, 1, 9, 20, 12)
    seen = []
    for network in (supernet, derived):
        network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        expected = PadToStrideInferer()(volume, supernet)
        assert torch.equal(PadToStrideInferer(roi_size=space.patch(space.base))(volume, derived), expected)
        assert [tuple(s.shape[2:]) for s in seen] == [(16, 20, 16)] * 2
        assert torch.equal(seen[0][..., 3:12, :, 2:14], volume)
        assert seen[0].count_nonzero() == volume.count_nonzero()
        assert expected.shape == (1, 2, 9, 20, 12)
        # what it has after padding counts for the limit: windows of 16 from here on
        PadToStrideInferer(max_voxels=16 * 20 * 16 - 1)(volume, supernet)
    assert {tuple(s.shape[2:]) for s in seen[2:]} == {(16, 16, 16)}


def test_for_want_of_memory_a_volume_goes_through_windows_and_so_do_others_of_its_size():
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 2), dilations=(1, 1)).eval()
    sizes = []

    def small_memory(module, inputs):
        sizes.append(tuple(inputs[0].shape[2:]))
        if inputs[0].numel() > 8**3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    net.register_forward_pre_hook(small_memory)
    inferer = PadToStrideInferer(roi_size=(8, 8, 8))
    with torch.no_grad():
        assert inferer(torch.randn(1, 1, 12, 8, 8), net).shape == (1, 2, 12, 8, 8)
        assert sizes[0] == (12, 8, 8)
        sizes.clear()
        inferer(torch.randn(1, 1, 12, 8, 8), net)
        inferer(torch.randn(1, 1, 8, 8, 6), net)
    assert set(sizes) == {(8, 8, 8)}
    assert inferer.max_voxels == 12 * 8 * 8 - 1  # by which the last one goes in one shot
    with torch.no_grad(), pytest.raises(torch.cuda.OutOfMemoryError):
        PadToStrideInferer()(torch.randn(1, 1, 12, 8, 8), net)


def test_inferer_pads_a_tiny_volume_to_two_voxels_at_the_deepest_stage():
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 4), dilations=(1, 1)).eval()
    prediction = PadToStrideInferer()(torch.randn(1, 1, 3, 4, 2), net)
    assert prediction.shape == (1, 2, 3, 4, 2)
    assert prediction.isfinite().all()


@pytest.mark.parametrize("shape", [(13, 9, 7), (10, 11)])
def test_flips_are_averaged(shape):
    torch.manual_seed(0)
    volume = torch.randn(2, 1, *shape)

    def network(x):
        ramp = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, *(1,) * (len(shape) - 1))
        return torch.cat([x * ramp, x], dim=1)  # the other way round, it is the other way round

    plain = PadToStrideInferer((1,) * len(shape))
    flipped = PadToStrideInferer((1,) * len(shape), flips=range(len(shape)))(volume, network)
    expected = plain(volume, network).softmax(1) / 2 + plain(volume.flip(2), network).flip(2).softmax(1) / 2
    assert flipped.shape == (2, 2, *shape)
    assert not torch.allclose(plain(volume, network).softmax(1), expected, atol=1e-3)
    assert torch.allclose(flipped.exp(), expected, atol=1e-6)
    along_another = PadToStrideInferer((1,) * len(shape), flips=[1])
    assert along_another.runs == 2
    assert torch.allclose(along_another(volume, network).exp(), plain(volume, network).softmax(1), atol=1e-6)


@pytest.mark.parametrize("choose", [max, min])
def test_the_supernet_tells_its_childs_patch(choose):
    space = RonasSpace((16, 16, 16), stages=3, searched_strides=(3,), dilated_stages=(2,), min_cells=2)
    child = choose(space.with_every_patch(space.base), key=lambda a: math.prod(space.patch(a)))
    supernet = RonasSuperNet(space, 1, 2, channels=(2, 3, 4)).eval()
    supernet.select(child)
    sizes = []
    supernet.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        PadToStrideInferer()(torch.randn(1, 1, 4, 4, 4), supernet)
        PadToStrideInferer(max_voxels=1)(torch.randn(1, 1, 20, 20, 20), supernet)
    assert set(sizes) == {space.patch(child)}
    assert sizes[1:]
    assert (space.patch(child) == space.patch(space.base)) == (choose is max)


def test_a_window_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"roi_size must be a multiple of \(4, 4, 4\)"):
        PadToStrideInferer((4, 4, 4), roi_size=(8, 6, 8))

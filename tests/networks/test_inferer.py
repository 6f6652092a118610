# SPDX-License-Identifier: Apache-2.0
import math
from types import SimpleNamespace

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_ronas.networks import PadToStrideInferer, inferer
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.space import RonasSpace


def test_a_training_crop_that_the_strides_do_not_divide_is_refused():
    net = RonasUNet(3, 1, 2, channels=(4, 8, 16), strides=(1, 2, 2), dilations=(1, 1, 1)).train()
    assert len(PadToStrideInferer()(torch.randn(1, 1, 8, 8, 8), net)) == 2
    with pytest.raises(ValueError, match=r"multiples of \(4, 4, 4\) .* received \(8, 8, 6\)"):
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
    segment = PadToStrideInferer(max_voxels=13 * 9 * 7 - 1, roi_size=(8, 8, 8))
    expected = SlidingWindowInferer((8, 8, 8), overlap=0.5, mode="gaussian")(volume, net)
    sizes.clear()
    torch.testing.assert_close(segment(volume, net), expected)
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
    segment = PadToStrideInferer(roi_size=(8, 8, 8))
    with torch.no_grad():
        assert segment(torch.randn(1, 1, 12, 8, 8), net).shape == (1, 2, 12, 8, 8)
        assert sizes[0] == (12, 8, 8)
        sizes.clear()
        segment(torch.randn(1, 1, 12, 8, 8), net)
        segment(torch.randn(1, 1, 8, 8, 6), net)
    assert set(sizes) == {(8, 8, 8)}
    assert segment.max_voxels == 12 * 8 * 8 - 1  # by which the last one goes in one shot
    with torch.no_grad(), pytest.raises(torch.cuda.OutOfMemoryError):
        PadToStrideInferer()(torch.randn(1, 1, 12, 8, 8), net)


def test_inferer_pads_a_tiny_volume_to_two_voxels_at_the_deepest_stage():
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 4), dilations=(1, 1)).eval()
    prediction = PadToStrideInferer()(torch.randn(1, 1, 3, 4, 2), net)
    assert prediction.shape == (1, 2, 3, 4, 2)
    assert prediction.isfinite().all()


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


def test_no_volume_goes_in_one_shot_with_a_limit_of_zero():
    sizes = []

    def network(x):
        sizes.append(tuple(x.shape))
        return x.clone()

    volume = torch.randn(1, 1, 4, 5, 6)
    assert torch.allclose(PadToStrideInferer((1, 1, 1), max_voxels=0, roi_size=(8, 8, 8))(volume, network), volume)
    PadToStrideInferer((1, 1, 1), max_voxels=0, roi_size=(4, 4, 4), sw_batch_size=3)(volume, network)
    assert sizes == [(1, 1, 8, 8, 8), (3, 1, 4, 4, 4), (1, 1, 4, 4, 4)]
    with pytest.raises(ValueError, match="sw_batch_size must be at least 1, received 0"):
        PadToStrideInferer(sw_batch_size=0)


@pytest.mark.parametrize("flips", [(), (0, 1, 2)])
def test_one_shot_without_memory_goes_through_windows_with_flips_too(flips):
    net = RonasUNet(3, 1, 2, channels=(2, 3), strides=(1, 2), dilations=(1, 1)).eval()
    sizes = []

    def small_memory(module, inputs):
        sizes.append(tuple(inputs[0].shape[2:]))
        if inputs[0].numel() > 8**3:
            raise MemoryError

    net.register_forward_pre_hook(small_memory)
    volume = torch.randn(1, 1, 12, 8, 8)
    segment = PadToStrideInferer(roi_size=(8, 8, 8), flips=flips)
    with torch.no_grad():
        given = segment(volume, net)
        assert sizes.count((12, 8, 8)) == 1  # the other runs know already
        assert torch.equal(given, PadToStrideInferer(roi_size=(8, 8, 8), max_voxels=0, flips=flips)(volume, net))


def test_windows_are_summed_up_on_the_cpu_where_the_device_has_no_memory(monkeypatch, caplog):
    devices = []

    class Windows(SlidingWindowInferer):
        def __init__(self, device, sw_device, **how):
            devices.append((str(sw_device), str(device)))
            super().__init__(device="cpu", **how)

        def __call__(self, *args):
            if devices[-1][1] != "cpu":
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return super().__call__(*args)

    monkeypatch.setattr(inferer, "SlidingWindowInferer", Windows)
    volume = torch.randn(1, 1, 9, 9, 9)
    segment = PadToStrideInferer((1, 1, 1), roi_size=(8, 8, 8), max_voxels=0, stitch_device="cuda:0")
    torch.testing.assert_close(segment.one_run(volume, torch.clone), volume)
    assert devices == [("cpu", "cuda:0"), ("cpu", "cpu")]
    assert "memory of cuda:0 does not suffice for the prediction: going on on the CPU" in caplog.text
    devices.clear()
    torch.testing.assert_close(
        PadToStrideInferer((1, 1, 1), roi_size=(8, 8, 8), max_voxels=0)(volume, torch.clone), volume
    )
    assert devices == [("cpu", "cpu")]


@pytest.mark.parametrize("flips", [(), (0,)])
def test_the_prediction_is_left_where_it_was_asked_for(flips):
    volume = torch.randn(1, 1, 9, 9, 9)
    segment = PadToStrideInferer((1, 1, 1), flips=flips, stitch_device="meta")
    if not flips:
        assert segment(volume, torch.clone).device.type == "meta"
    segment.stitch_device = "cpu"
    assert segment(volume, torch.clone).device.type == "cpu"


@pytest.mark.parametrize(
    "error", ["Expected canUse32BitIndexMath(input) to be true", "must fit into 32-bit index math"]
)
def test_more_values_than_an_index_counts_go_through_windows_and_no_limit_is_learnt(error):
    def network(x):
        if x.numel() > 8**3:
            raise RuntimeError(error)
        return x.clone()

    segment = PadToStrideInferer((1, 1, 1), roi_size=(8, 8, 8))
    volume = torch.randn(1, 1, 9, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(segment(volume, network), volume)
        assert segment.max_voxels is None
        with pytest.raises(RuntimeError, match="32"):
            PadToStrideInferer((1, 1, 1))(volume, network)


@pytest.mark.parametrize(
    ("device", "voxels", "scale", "beyond"),
    [("cuda", 2**27, 1, True), ("cuda", 2**26, 1, False), ("cuda", 2**27, 2, False), ("cpu", 2**30, 1, False)],
)
def test_what_an_index_counts_is_known_before(device, voxels, scale, beyond):
    network = SimpleNamespace(heads=[SimpleNamespace(in_channels=16, out_channels=3)], stem_scale=[float(scale)] * 3)
    assert inferer._beyond_indices(network, torch.device(device), 1, voxels) == beyond
    assert not inferer._beyond_indices(lambda x: x, torch.device(device), 1, voxels)

# SPDX-License-Identifier: Apache-2.0
"""Estimates against what torch counts and what lives during inference and training."""

import random
import statistics

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from tests.measured_memory import LiveTensors, layout, training_peak

WIDTHS = {"channels": (8, 12, 16, 24), "in_channels": 2, "out_channels": 4}
SHAPES = [(64, 64, 32), (48, 64, 16), (96, 80)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_operations_and_parameters_are_those_of_torch(shape, seed):
    space = RonasSpace(shape)
    architecture = space.sample(random.Random(seed))
    costs = ResourceEstimator(space, **WIDTHS)
    net = RonasUNet(len(shape), **space.network_kwargs(architecture), **WIDTHS, deep_supervision=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 2, *space.patch(architecture)))
    assert costs.macs(architecture) * 2 == counter.get_total_flops()
    assert costs.parameters(architecture) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_inference_is_close_to_what_lives(shape, seed, amp):
    space = RonasSpace(shape)
    architecture = space.sample(random.Random(seed))
    net = RonasUNet(len(shape), **space.network_kwargs(architecture), **WIDTHS, deep_supervision=False).eval()
    with torch.no_grad(), LiveTensors() as live:
        PadToStrideInferer(amp=amp)(torch.zeros(1, 2, *shape).contiguous(memory_format=layout(space)), net)
    estimate = ResourceEstimator(space, **WIDTHS).inference_bytes(architecture, shape, amp=amp)
    assert estimate == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("amp", [False, True])
def test_training_is_close_to_what_lives(amp):
    """The median error is below a tenth; nothing needs 15 % more than estimated."""
    errors = []
    for shape in SHAPES[:2]:
        space = RonasSpace(shape)
        costs = ResourceEstimator(space, **WIDTHS, amp=amp)
        for seed in range(3):
            architecture = space.sample(random.Random(seed))
            crops = 1 + seed % 2
            peak = training_peak(space, architecture, crops, WIDTHS, amp=amp)
            errors.append(costs.training_bytes(architecture, crops=crops) / peak - 1)
    assert statistics.median(abs(e) for e in errors) < 0.1
    assert min(errors) > -0.15
    assert max(errors) < 0.25


def test_one_shot_voxels_are_what_the_memory_holds():
    space = RonasSpace((64, 64, 64))
    costs = ResourceEstimator(space, channels=(16, 32, 64, 128), in_channels=1, out_channels=3)
    side = round(costs.one_shot_voxels(4.0) ** (1 / 3))
    need = costs.inference_bytes(space.largest, (side,) * 3) / 2**30
    assert 0.85 * 4.0 < need < 4.0
    assert costs.one_shot_voxels(0.001) == 0


def test_a_limited_space_has_only_what_fits():
    space = RonasSpace((64, 64, 64))
    free = ResourceEstimator(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=3)
    needs = sorted(free.training_bytes(space.sample(random.Random(s)), crops=1) for s in range(60))
    memory_gb = needs[30] * 1.1 / 2**30
    costs = ResourceEstimator(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=3, memory_gb=memory_gb)
    limited = costs.limited_space()
    sampled = [limited.sample(random.Random(s)) for s in range(60)]
    assert all(costs.training_bytes(a, crops=1) * 1.1 <= memory_gb * 2**30 for a in sampled)
    assert not all(costs.fits(space.sample(random.Random(s))) for s in range(60))
    assert len(set(sampled)) > 40
    for architecture in (limited.base, limited.largest):
        assert costs.fits(architecture)
        assert limited.is_feasible(architecture)
    own = {k: v for k, v in space.base.items() if not k.startswith("patch")}
    assert {k: limited.base[k] for k in own} == own  # a smaller patch, the same network
    assert limited.cardinality == space.cardinality  # options are masked, not removed


def test_too_little_memory_is_refused_with_the_smallest_need():
    space = RonasSpace((64, 64, 64))
    costs = ResourceEstimator(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=3, memory_gb=0.01)
    with pytest.raises(
        ValueError, match=r"memory_budget_gb 0.01 is too little: the smallest network .* needs 0\.\d+ GB"
    ):
        costs.limited_space()


@pytest.mark.parametrize("shape", [(35, 51, 33), (49, 49, 9)])
def test_inference_counts_the_padding(shape):
    space = RonasSpace((48, 48, 32))
    architecture = space.base
    torch.manual_seed(0)
    net = RonasSuperNet(space, WIDTHS["in_channels"], WIDTHS["out_channels"], channels=WIDTHS["channels"])
    net = net.derive(architecture).to(memory_format=torch.channels_last_3d).eval()
    image = torch.zeros(1, WIDTHS["in_channels"], *shape)
    with LiveTensors() as live, torch.no_grad():
        PadToStrideInferer()(image, net)
    estimate = ResourceEstimator(space, **WIDTHS).inference_bytes(architecture, shape)
    assert estimate == pytest.approx(live.peak, rel=0.15)


@pytest.mark.parametrize("classes", [3, 40])
def test_inference_counts_what_flips_keep(classes):
    space = RonasSpace((48, 48, 32))
    widths = {**WIDTHS, "out_channels": classes}
    net = RonasSuperNet(space, widths["in_channels"], classes, channels=widths["channels"])
    net = net.derive(space.base).to(memory_format=torch.channels_last_3d).eval()
    with LiveTensors() as live, torch.no_grad():
        PadToStrideInferer(flips=(0, 1, 2))(torch.zeros(1, widths["in_channels"], 48, 48, 32), net)
    costs = ResourceEstimator(space, **widths)
    kept, most = costs.flip_bytes(48 * 48 * 32)
    estimate = max(costs.inference_bytes(space.base, (48, 48, 32)) + kept, most)
    assert estimate == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("flips", [(), (0, 1, 2)])
def test_scoring_counts_the_volume_in_which_windows_are_summed_up(flips):
    space = RonasSpace((32, 32, 32))
    widths = {**WIDTHS, "out_channels": 15}
    costs = ResourceEstimator(space, **widths, volume=(96, 96, 96), flips=bool(flips))
    net = RonasSuperNet(space, widths["in_channels"], 15, channels=widths["channels"]).eval()
    net = net.to(memory_format=torch.channels_last_3d)
    net.select(space.largest)
    with LiveTensors() as live, torch.no_grad():
        image = torch.zeros(1, widths["in_channels"], 96, 96, 96)
        PadToStrideInferer(max_voxels=0, roi_size=space.patch(space.base), flips=flips)(image, net)
    assert 0.85 * live.peak < costs.scoring_bytes() < 1.3 * live.peak
    limit = 1.2 * costs.training_bytes(space.base, crops=1) / 2**30
    small = ResourceEstimator(space, **widths, volume=(960, 960, 960), memory_gb=limit)
    with pytest.raises(ValueError, match="scoring the largest volume needs"):
        small.limited_space()


@pytest.mark.parametrize("activation", ["SWISH", "MISH", "GELU", "PRELU"])
def test_activations_that_do_not_work_in_place_are_counted(activation):
    space = RonasSpace((32, 32, 32), activations=[activation])
    peak = training_peak(space, space.base, 2, WIDTHS, amp=False)
    estimate = ResourceEstimator(space, **WIDTHS).training_bytes(space.base, crops=2)
    assert -0.15 < estimate / peak - 1 < 0.3


def test_a_base_network_that_does_not_fit_is_refused_with_its_need():
    space = RonasSpace((64, 64, 64), overrides={"stride_3": [(2, 2, 2), (4, 4, 4)]})
    free = ResourceEstimator(space, **WIDTHS)
    least, base = (
        1.1 * min(free.training_bytes(a, crops=1) for a in options) / 2**30
        for options in ([space.cheapest], space.with_every_patch(space.base))
    )
    assert least < base
    for budget, works in ((base * 1.001, True), (base * 0.99, False)):
        costs = ResourceEstimator(space, **WIDTHS, memory_gb=budget)
        if works:
            assert costs.fits(costs.limited_space().base)
        else:
            with pytest.raises(ValueError, match=f"the base network needs {base:.3f}"):
                costs.limited_space()

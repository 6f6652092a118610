# SPDX-License-Identifier: Apache-2.0
"""Estimates against what torch counts and what lives during inference and training."""

import random
import statistics

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_ronas.networks.nets import RonasUNet
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_inference_is_close_to_what_lives(shape, seed):
    space = RonasSpace(shape)
    architecture = space.sample(random.Random(seed))
    net = RonasUNet(len(shape), **space.network_kwargs(architecture), **WIDTHS, deep_supervision=False).eval()
    with torch.no_grad(), LiveTensors() as live:
        net(torch.zeros(1, 2, *shape).contiguous(memory_format=layout(space)))
    estimate = ResourceEstimator(space, **WIDTHS).inference_bytes(architecture, shape)
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

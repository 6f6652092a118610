# SPDX-License-Identifier: Apache-2.0
"""Estimates against what torch counts and what lives during inference and training."""

import random
import statistics

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.resources import ArchitectureCosts
from monai_ronas.space import RonasSpace
from tests.measured_memory import LiveTensors, layout, training_peak

WIDTHS = {"channels": (8, 12, 16, 24), "in_channels": 2, "out_channels": 4}
SHAPES = [(64, 64, 32), (48, 64, 16), (96, 80)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flat", [False, True])
def test_operations_and_parameters_are_those_of_torch(shape, seed, flat):
    kernels = [(3,) * (len(shape) - 1) + (1,)] * 2 + [(3,) * len(shape)] * 2 if flat else None
    space = RonasSpace(shape, kernel_sizes=kernels)
    architecture = space.sample(random.Random(seed))
    costs = ArchitectureCosts(space, **WIDTHS)
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
    estimate = ArchitectureCosts(space, **WIDTHS).inference_bytes(architecture, shape, amp=amp)
    assert estimate == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("amp", [False, True])
def test_training_is_close_to_what_lives(amp):
    """The median error is below a tenth; nothing needs 15 % more than estimated."""
    errors = []
    strided_stem = RonasSpace((64, 64), stages=4, strides=[(2, 2)] * 4)
    for space in (RonasSpace(SHAPES[0]), RonasSpace(SHAPES[1]), strided_stem):
        costs = ArchitectureCosts(space, **WIDTHS, amp=amp)
        for seed in range(3):
            architecture = space.sample(random.Random(seed))
            crops = 1 + seed % 2
            peak = training_peak(space, architecture, crops, WIDTHS, amp=amp)
            errors.append(costs.training_bytes(architecture, crops=crops) / peak - 1)
    assert statistics.median(abs(e) for e in errors) < 0.1
    assert min(errors) > -0.15
    assert max(errors) < 0.25


@pytest.mark.parametrize(
    ("stem", "classes", "channels"),
    [
        ((2, 2, 2), 64, (8, 16, 32, 64)),
        ((2, 2, 1), 64, (8, 16, 32, 64)),
        ((2, 1, 1), 64, (8, 16, 32, 64)),
        ((1, 1, 1), 64, (8, 16, 32, 64)),
        ((8, 8, 8), 64, (8, 16, 32, 64)),
        ((2, 2, 2), 2, (32, 64, 128, 256)),
    ],
)
def test_labels_of_many_classes_and_updates_of_wide_kernels_are_counted(stem, classes, channels):
    strides = [stem, (2, 2, 1), (2, 2, 2), (1, 1, 1)]
    space = RonasSpace((64, 64, 16), strides=strides, kernel_sizes=[(3, 3, 1), *[(3, 3, 3)] * 3])
    widths = {"channels": channels, "in_channels": 1, "out_channels": classes}
    peak = training_peak(space, space.base, 1, widths, amp=False)
    estimate = ArchitectureCosts(space, **widths).training_bytes(space.base, crops=1)
    assert -0.1 < estimate / peak - 1 < 0.25


@pytest.mark.parametrize(("classes", "amp"), [(8, False), (50, False), (20, True), (50, True)])
def test_voxels_that_nobody_has_labelled_are_counted(classes, amp):
    space = RonasSpace((64, 64, 32))
    widths = {"channels": (16, 32, 64, 128), "in_channels": 1, "out_channels": classes}
    peaks = [training_peak(space, space.base, 2, widths, amp=amp, ignore=ignore) for ignore in (False, True)]
    assert peaks[1] > 1.05 * peaks[0]
    for ignore, peak in zip((False, True), peaks, strict=True):
        estimate = ArchitectureCosts(space, **widths, amp=amp, ignore=ignore).training_bytes(space.base, crops=2)
        assert -0.05 < estimate / peak - 1 < 0.25


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
    estimate = ArchitectureCosts(space, **WIDTHS).inference_bytes(architecture, shape)
    assert estimate == pytest.approx(live.peak, rel=0.15)


@pytest.mark.parametrize("classes", [3, 40])
def test_inference_counts_what_flips_keep(classes):
    space = RonasSpace((48, 48, 32))
    widths = {**WIDTHS, "out_channels": classes}
    net = RonasSuperNet(space, widths["in_channels"], classes, channels=widths["channels"])
    net = net.derive(space.base).to(memory_format=torch.channels_last_3d).eval()
    with LiveTensors() as live, torch.no_grad():
        PadToStrideInferer(flips=(0, 1, 2))(torch.zeros(1, widths["in_channels"], 48, 48, 32), net)
    costs = ArchitectureCosts(space, **widths)
    kept, most = costs.flip_bytes(48 * 48 * 32)
    estimate = max(costs.inference_bytes(space.base, (48, 48, 32)) + kept, most)
    assert estimate == pytest.approx(live.peak, rel=0.1)


@pytest.mark.parametrize("activation", ["SWISH", "MISH", "GELU", "PRELU"])
def test_activations_that_do_not_work_in_place_are_counted(activation):
    space = RonasSpace((32, 32, 32), activations=[activation])
    peak = training_peak(space, space.base, 2, WIDTHS, amp=False)
    estimate = ArchitectureCosts(space, **WIDTHS).training_bytes(space.base, crops=2)
    assert -0.15 < estimate / peak - 1 < 0.3

# SPDX-License-Identifier: Apache-2.0
"""What fits into a memory budget, against what lives."""

import math
import random
import re

import pytest
import torch

from monai_ronas.engines import PatchBatch
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from tests.measured_memory import LiveTensors

WIDTHS = {"channels": (8, 12, 16, 24), "in_channels": 2, "out_channels": 4}


def test_one_shot_voxels_are_what_the_memory_holds():
    space = RonasSpace((64, 64, 64))
    costs = ResourceEstimator(space, channels=(16, 32, 64, 128), in_channels=1, out_channels=3)
    side = round(costs.one_shot_voxels(4.0) ** (1 / 3))
    need = costs.inference_bytes(space.base, (side,) * 3) / 2**30
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


def test_too_little_memory_is_refused_with_a_need_that_will_do():
    space = RonasSpace((64, 64, 64))
    sizes = {"channels": (8, 16, 32, 64), "in_channels": 1, "out_channels": 3}
    with pytest.raises(ValueError, match=r"memory_budget_gb 0.01 is too little: .* needs \d+\.\d+ GB") as refused:
        ResourceEstimator(space, **sizes, memory_gb=0.01).limited_space()
    need = float(re.search(r"needs (\S+) GB", str(refused.value))[1])
    ResourceEstimator(space, **sizes, memory_gb=need).limited_space()
    with pytest.raises(ValueError, match="too little"):
        ResourceEstimator(space, **sizes, memory_gb=0.99 * need).limited_space()


def test_no_child_has_more_operations_than_so_many_crops_of_the_base_network():
    space = RonasSpace((64, 64, 64), searched_strides=(1, 2, 3, 4), patch_ratio=0.5, widths=(1, 0.5, 1.5))
    costs = ResourceEstimator(space, **WIDTHS)
    limited = costs.limited_space(most_crops=4)
    most = 4 * costs.macs(space.base)
    assert max(costs.macs(limited.sample(random.Random(s))) for s in range(60)) <= most
    assert costs.macs(limited.largest) <= most < costs.macs(space.largest)
    assert limited.base == space.base


def test_one_shot_is_limited_by_the_architecture_that_is_scored():
    space = RonasSpace((64, 64, 64), searched_strides=(1, 3, 4), widths=(1, 1.5))
    costs = ResourceEstimator(space, **WIDTHS)
    fine = space.base
    wide, coarse = fine.replace(width=1.5), fine.replace(stride_1=(2, 2, 2), stride_4=(1, 1, 1))
    voxels = [costs.one_shot_voxels(4.0, architecture) for architecture in (wide, fine, coarse)]
    assert voxels == sorted(voxels)
    assert voxels[0] < voxels[1] < voxels[2]
    assert costs.one_shot_voxels(4.0) == voxels[1]


def test_scoring_counts_a_window_whatever_the_volume():
    """The sums of the windows lie in the machine's memory: a large volume of many classes is not refused."""
    space = RonasSpace((32, 32, 32))
    sizes = {**WIDTHS, "out_channels": 15}
    costs = ResourceEstimator(space, **sizes)
    patch = space.patch(space.largest)
    net = RonasSuperNet(space, WIDTHS["in_channels"], 15, channels=WIDTHS["channels"]).eval()
    net = net.to(memory_format=torch.channels_last_3d)
    net.select(space.largest)
    with LiveTensors() as live, torch.no_grad():
        PadToStrideInferer()(torch.zeros(1, WIDTHS["in_channels"], *patch), net)
    window = costs.inference_bytes(space.largest, patch)
    assert 0.85 * live.peak < window < 1.3 * live.peak
    limit = 1.2 * costs.needed_gb(space.base)
    assert ResourceEstimator(space, **sizes, memory_gb=limit).limited_space().base == space.base


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
            with pytest.raises(ValueError, match="the base network needs") as refused:
                costs.limited_space()
            assert float(re.search(r"needs (\S+) GB", str(refused.value))[1]) == pytest.approx(base, abs=2e-6)


def test_no_batch_has_more_values_in_a_map_than_32_bits_index_and_none_teaches_a_limit_of_memory():
    """A card whose memory holds everything; a crop at full resolution has 2**29 values in its largest map."""
    space = RonasSpace((256, 256, 256), searched_strides=(1, 2, 3, 4))
    costs = ResourceEstimator(space, channels=(32, 32, 32, 32), in_channels=1, out_channels=2, memory_gb=1e6)
    base, coarse = space.base, space.base.replace(stride_1=(2, 2, 2))
    assert space.patch(base) == (256, 256, 256)
    assert [costs.fits(base, crops=n) for n in (1, 3, 4, 8)] == [True, True, False, False]
    assert [costs.fits(coarse, crops=n) for n in (4, 8, 31)] == [True, True, True]
    assert costs.needed_gb(base, crops=4) == math.inf
    network = RonasSuperNet(space, 1, 2, channels=(32, 32, 32, 32))
    network.select(base)
    assert PatchBatch(network, batch_size=8, resources=costs).crops(base) == 3
    assert costs.memory_gb == 1e6


def test_a_batch_beyond_32_bits_that_was_too_large_teaches_a_limit_where_there_was_none():
    """Without one such batches are made, and the same one must not be made again."""
    space = RonasSpace((256, 256, 256), searched_strides=(1, 2, 3, 4))
    costs = ResourceEstimator(space, channels=(32, 32, 32, 32), in_channels=1, out_channels=2)
    assert costs.fits(space.base, crops=4)
    costs.learn_limit(space.base, crops=4)
    assert math.isfinite(costs.memory_gb)
    assert not costs.fits(space.base, crops=4)
    assert costs.fits(space.base, crops=3)


def test_a_base_network_beyond_32_bits_with_every_patch_is_refused_in_a_sentence():
    space = RonasSpace((256, 256, 256), overrides={"patch_hw": [(256, 256)], "patch_d": [256]})
    costs = ResourceEstimator(space, channels=(256, 16, 16, 16), in_channels=1, out_channels=2, memory_gb=1e6)
    with pytest.raises(ValueError, match="more than 2\\*\\*31 - 1 values with every patch: give fewer channels"):
        costs.limited_space()

# SPDX-License-Identifier: Apache-2.0
"""Estimated against measured memory, on the paper's heart volumes at its channels."""

import pytest

from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from monai_ronas.utils import has_fast_half
from tests.benchmarks.card import DEEPEST, SHAPE, measured

GIB = 2**30


@pytest.mark.parametrize("name", ["base", "largest", "cheapest"])
def test_training_and_scoring_need_what_is_estimated(device, papers_gb, name, record_property):
    small = device.type == "cpu"
    shape, deepest = ((32, 32, 16), (32, 32, 24)) if small else (SHAPE, DEEPEST)
    costs = ResourceEstimator(
        RonasSpace(shape),
        channels=(4, 6, 8, 12) if small else (32, 64, 128, 256),
        in_channels=1,
        out_channels=2,
        amp=not small and has_fast_half(device),
        memory_gb=papers_gb,
    )
    child = getattr(costs.limited_space(), name)
    row = measured(costs, costs.space, child, device, deepest=deepest)
    estimated = costs.training_bytes(child, crops=1) / GIB
    for what, value in {"training_gb, estimated": estimated, **row}.items():
        record_property(f"{name} network on the heart, {what}", value)
    assert 0.7 * estimated < row["training_gb"] < 1.1 * estimated + 1.0  # convolutions have a workspace beside it
    assert row["scoring_gb"] < papers_gb

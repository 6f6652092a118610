# SPDX-License-Identifier: Apache-2.0
"""The plan of a search: bounded by memory and time, and the same again where a search is resumed."""

import dataclasses
import json
import re

import pytest
import torch

from monai_ronas.resources import PlanInputs, ResourceEstimator, Speed, measure_speed, plan_for, plan_search
from monai_ronas.resources.speed import update_macs
from monai_ronas.space import RonasSpace
from monai_ronas.utils import accept_reports

CT = PlanInputs((512, 512, 300), (0.8, 0.8, 1.5), 1, 2, memory_gb=8.0, time_budget=600.0, amp=True)
SPEED = Speed(seconds_per_mac=1e-11, seconds_per_update=1e-11, seconds_per_step=0.05)


def estimator(plan, inputs):
    space = RonasSpace(spacing=inputs.spacing, **plan.space_arguments())
    return ResourceEstimator(
        space,
        channels=plan.channels,
        in_channels=inputs.in_channels,
        out_channels=inputs.out_channels,
        amp=inputs.amp,
        memory_gb=inputs.memory_gb,
    )


@pytest.mark.parametrize(("memory_gb", "classes"), [(4, 2), (8, 64), (10.8, 3), (80, 64)])
@pytest.mark.parametrize("time_budget", [None, 600.0, 43_200.0])
def test_large_volumes_of_many_classes_are_not_refused(memory_gb, classes, time_budget):
    inputs = dataclasses.replace(CT, memory_gb=memory_gb, out_channels=classes, time_budget=time_budget)
    plan = plan_for(inputs, SPEED)
    costs = estimator(plan, inputs)
    limited = costs.limited_space()
    assert limited.patch(limited.base) == plan.patch
    assert costs.fits(limited.base, crops=plan.batch_size)


def test_only_where_nothing_fits_it_says_what_would():
    inputs = dataclasses.replace(CT, memory_gb=0.001)
    with pytest.raises(ValueError, match="is too little for these data: give") as refused:
        plan_for(inputs, SPEED)
    enough = float(re.search(r"give (\S+) or more", str(refused.value))[1])
    assert plan_for(dataclasses.replace(inputs, memory_gb=enough), SPEED).patch


def test_the_time_that_is_spent_already_is_not_planned():
    early, late = (plan_for(CT, SPEED, spent=spent) for spent in (0.0, 500.0))
    assert late.steps * late.seconds_per_step < 0.25 * early.steps * early.seconds_per_step


def test_a_resumed_search_has_the_plan_that_it_had(tmp_path):
    report = tmp_path / "dataset_report.json"
    report.write_text(json.dumps({"faults": []}), encoding="utf-8")
    speeds = [SPEED, Speed(1e-9, 1e-9, 1.0)]
    first = plan_search(CT, lambda: speeds[0], lambda: 3.0, report)
    again = plan_search(CT, lambda: speeds[1], lambda: 3.0, report)
    assert again == first
    assert json.loads(report.read_text(encoding="utf-8"))["faults"] == []
    assert json.loads(report.read_text(encoding="utf-8"))["plan"]["patch"] == list(first.patch)
    assert plan_search(CT, lambda: speeds[1], lambda: 3.0, report, resume=False) != first
    checkpoint = tmp_path / "checkpoints" / "episode_00001.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()  # of a search that has begun: more time or another memory does not change its network
    before = report.read_bytes(), report.with_name("plan.json").read_bytes()
    plan_search(CT, lambda: speeds[0], lambda: 3.0, report, resume=False)
    assert (report.read_bytes(), report.with_name("plan.json").read_bytes()) == before  # it may still be refused
    accept_reports(tmp_path)
    later = dataclasses.replace(CT, time_budget=9e4, memory_gb=4.0)
    assert plan_search(later, lambda: speeds[1], lambda: 3.0, report) == first
    checkpoint.unlink()
    other = dataclasses.replace(CT, memory_gb=4.0)
    assert (
        plan_search(other, lambda: speeds[0], lambda: 3.0, report).patch
        != plan_search(dataclasses.replace(CT, time_budget=None), lambda: speeds[0], lambda: 3.0, report).patch
    )
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")  # cut short
    assert plan_search(CT, lambda: speeds[0], lambda: 3.0, report) == first


def test_a_speed_is_positive_and_leaves_the_random_state():
    before = torch.get_rng_state()
    speed = measure_speed("cpu", amp=False, patience=0.1)
    assert torch.equal(torch.get_rng_state(), before)
    assert speed.seconds_per_mac > 0
    assert speed.seconds_per_step >= 0
    assert speed.seconds(1e9) > speed.seconds(1e6)


def test_updates_grow_with_the_kernels():
    assert update_macs((2,), 1, axes=2) == (4 * 4 * 9 + 15 * 8) + (4 * 4 * 18 + 15 * 8)
    assert update_macs((16, 32, 64), 1) > 3 * update_macs((8, 16, 32), 1)


def test_a_stage_whose_update_takes_long_is_left_out_where_time_is_short():
    inputs = dataclasses.replace(CT, shape=(160, 160, 96), time_budget=6000.0)
    cheap, dear = (plan_for(inputs, Speed(1e-11, update, 0.0)) for update in (1e-13, 2e-10))
    assert len(dear.channels) == 4 < len(cheap.channels)

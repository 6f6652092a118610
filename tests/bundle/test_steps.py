# SPDX-License-Identifier: Apache-2.0
import json
import logging
from types import SimpleNamespace

import pytest

from monai_ronas.bundle import Settings, needs_augmentation, plan_study, validation_dataset
from monai_ronas.resources import PlanInputs, plan_for
from monai_ronas.utils import TimeBudget

VALIDATION, TRAINING = [{"image": 1}, {"image": 2}], [{"image": 3}]


@pytest.mark.parametrize(("data", "expected"), [(VALIDATION, [10, 20]), ([], [30])])
def test_training_cases_judge_where_there_are_no_others(data, expected, caplog):
    with caplog.at_level(logging.WARNING):
        judged = validation_dataset(data, TRAINING, lambda case: {"image": 10 * case["image"]})
    assert [case["image"] for case in judged] == expected
    assert ("no validation cases: the 1 training cases decide" in caplog.text) == (not data)


def test_the_plan_follows_from_the_fingerprint_and_the_budgets(tmp_path):
    facts = {"median_shape": (48, 48, 24), "target_spacing": (1.0, 1.0, 2.0), "in_channels": 2, "out_channels": 3}
    study, budget = SimpleNamespace(fingerprint=SimpleNamespace(**facts, ignore_label=None)), TimeBudget(None)
    plan = plan_study(study, tmp_path, budget, "cpu", memory_gb=4.0, amp=True, channels=[4, 6, 8], batch_size=1)
    inputs = PlanInputs(*facts.values(), memory_gb=4.0, amp=True, channels=(4, 6, 8), batch_size=1)
    assert plan == plan_for(inputs)
    assert plan.channels == (4, 6, 8)
    assert budget.part == "plan"
    told = json.loads((tmp_path / "dataset_report.json").read_text())["plan"]
    assert (told["channels"], told["largest_patch"]) == ([4, 6, 8], [48, 48, 24])
    assert json.loads((tmp_path / "plan.json").read_text())["inputs"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("wanted", "final", "steps", "expected"),
    [
        (None, True, 1000, False),
        (None, True, 1001, True),
        (None, False, 750, False),
        (None, False, 751, True),
        (None, True, None, False),
        (True, True, None, True),
        (True, True, 9, True),
        (False, True, 10**5, False),
    ],
)
def test_crops_are_augmented_where_training_shows_each_case_often(wanted, final, steps, expected, caplog):
    plan = SimpleNamespace(steps=steps, batch_size=2)
    study = SimpleNamespace(split=SimpleNamespace(train=["a"] * 15, reward=["b"] * 5))
    with caplog.at_level(logging.INFO):
        settings = Settings(augment=wanted, final_on_reward_cases=final)
        assert needs_augmentation(settings, plan, study) is expected
    assert ("the plan shows each case about 100 times" in caplog.text) == (wanted is None and expected)

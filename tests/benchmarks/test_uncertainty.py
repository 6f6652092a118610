# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from tests.benchmarks.uncertainty import measure_case, risk_coverage, summary, table


def case(sure, label, seconds=0.5):
    """A case whose network is right with a probability, or wrong with it where that is below one half."""
    truth = torch.nn.functional.one_hot(label[0].long(), 2).movedim(-1, 0).float()
    said = (truth * sure + (1 - truth) * (1 - sure)).log()
    return {**measure_case(said, label, temperature=1.0), "seconds": seconds}


@pytest.fixture
def label():
    label = torch.zeros(1, 8, 8, 8)
    label[:, 2:6, 2:6, 2:6] = 1
    return label


def test_figures_of_a_case(label):
    found = case(0.9, label)
    assert found["dice"] == 1.0
    inside, all_ = 64 * 0.9, 64 * 0.9 + 448 * 0.1
    assert found["predicted_dice"] == pytest.approx(2 * inside / (64 + all_))
    assert found["mean_entropy"] == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)), rel=1e-4)
    assert found["held"] == [True]
    assert found["widths"] == [512 / 64]
    missed = case(0.9, label * 0)
    assert math.isnan(missed["dice"])
    assert missed["predicted_dice"] == 0.0
    assert missed["held"] == []


def test_the_least_sure_are_set_aside():
    assert risk_coverage([0.2, 0.8, 0.9, 0.7], [1, 4, 3, 2], (0.0, 0.25, 0.5)) == pytest.approx([0.65, 0.8, 0.85])


def test_report(label):
    cases = [case(sure, label) for sure in (0.95, 0.8, 0.3)] + [case(0.9, label * 0)]
    report = summary(cases, 2.0)
    assert report["cases"] == 3
    assert report["seconds"] == 0.5
    without, with_it = report["expected_calibration_error"]
    assert without == pytest.approx((0.05 + 0.2 + 0.7) / 3, rel=1e-3)
    assert with_it == pytest.approx(0.3748, abs=1e-3)  # less sure, and even further from what is right here
    assert report["spearman"]["predicted Dice"] == pytest.approx(0.0)  # ranks 3, 1, 2 where Dice is 1, 1, 0
    text = table({"single network": report, "ensemble": report})
    assert text.splitlines()[0] == "| 3 cases | single network | ensemble |"
    assert "| seconds of a case | 0.50 | 0.50 |" in text
    assert [sum(bins["count"]) for bins in report["reliability"]] == [3 * 512] * 2

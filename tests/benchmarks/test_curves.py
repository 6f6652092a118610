# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from monai_ronas.engines.forecast import Prior
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore
from tests.benchmarks.curves import LearningCurve, fit_prior, judge_forecasts


def row(dice, slope, end, times=(0.04, 0.08, 0.16, 0.32)):
    """A result whose curve is a power law that ends at an error."""
    return {"mean_dice": dice, "curve": {"times": list(times), "errors": [[end * t**-slope] * 4 for t in times]}}


class Scorer:
    """Scores a network by its first weight."""

    def __init__(self):
        self.network = RonasSuperNet(RonasSpace((16, 16, 16)), in_channels=1, out_channels=2, channels=(2, 4, 4, 4))
        self.weight = next(self.network.parameters())
        self.chosen = None

    def choose_some(self, number):
        self.chosen = number

    def in_windows(self, overlap):
        return torch.no_grad()

    def score(self, architecture):
        value = float(self.weight.flatten()[0])
        return ChildScore(value, (value, value), 1.0, 1.0, soft=(value, value / 2))


def test_a_network_is_scored_with_averaged_weights_at_each_share():
    scorer = Scorer()
    curve = LearningCurve(scorer, shares=(0.1, 0.5), cases=3)
    assert scorer.chosen == 3
    for step, progress in enumerate((0.05, 0.1, 0.3, 0.5, 0.9)):
        with torch.no_grad():
            scorer.weight.fill_(float(step) / 8)
        assert curve.is_over == (progress > 0.5)
        curve.update(progress)
    assert scorer.weight.flatten()[0] == 4 / 8
    found = curve.to_dict()
    assert found["times"] == [0.1, 0.5]
    first = 0 + (1 / 8) * 9 / 10  # the second step counts with 9 / (2 + 8)
    assert found["errors"][0] == pytest.approx([1 - first, 1 - first / 2])
    assert found["errors"][1][0] > 1 - 3 / 8  # the last step but one is below the average's height
    assert curve.paused >= 0


def test_forecasts_are_judged_by_the_dice_at_the_end():
    rows = {"good": row(0.9, 0.5, 0.10), "fair": row(0.8, 0.4, 0.20), "poor": row(0.6, 0.3, 0.40)}
    judged = judge_forecasts(rows)
    assert [round(r["share"], 2) for r in judged] == [0.04, 0.08, 0.16, 0.32]
    assert judged[-1]["tau"] == pytest.approx(1.0)
    assert judged[-1]["chosen"] == judged[-1]["best"] == "good"
    assert judged[-1]["lost"] == judged[-1]["deviations"] == 0.0
    unshrunken = judge_forecasts(rows, Prior(noise=0.01, own_sd=0.05, lead_sd=10.0))
    assert unshrunken[-1]["surprise"] < 0.5  # the ends are on the lines


def test_forecasts_that_are_too_sure_are_a_surprise():
    rows = {"early": row(0.7, 0.4, 0.1), "late": row(0.9, 0.4, 0.3)}
    sure, unsure = (judge_forecasts(rows, Prior(noise=noise, own_sd=0.3))[-1]["surprise"] for noise in (0.01, 0.3))
    assert sure > unsure > 1


def test_a_forecast_that_misleads_tells_what_it_costs():
    rows = {"early": row(0.7, 0.1, 0.2), "late": row(0.9, 0.4, 0.1)}
    first = judge_forecasts(rows)[0]
    assert first["chosen"] == "early"
    assert first["lost"] == pytest.approx(0.2)
    assert first["deviations"] > 0


def test_the_prior_of_curves():
    fitted = fit_prior({"a": row(0.9, 0.5, 0.1), "b": row(0.8, 0.3, 0.1)})
    assert fitted["slope"] == pytest.approx(0.4)
    assert fitted["own_sd"] == pytest.approx(0.1 * math.sqrt(2))
    assert fitted["noise"] == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(fit_prior({"a": row(0.9, 0.5, 0.1, times=(0.1, 0.2))})["slope"])

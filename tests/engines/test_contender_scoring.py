# SPDX-License-Identifier: Apache-2.0
"""The points of a contender's curve, and the cases that they are made of."""

import logging

import pytest

from monai_ronas.engines.contender import Contender
from monai_ronas.engines.contender_scoring import ContenderScoring
from monai_ronas.engines.contender_training import ContenderTraining
from monai_ronas.utils import TimeBudget
from tests.engines.racing import CurveScorer
from tests.toys import toy_slices


def scoring(levels=None, *, seconds=None, share=0.25):
    """Of the base network, by curves that are given, with a second for a case."""
    slices = toy_slices()
    training = ContenderTraining(slices, slices.network.space, TimeBudget(seconds))
    base = slices.network.space.base
    scorer = CurveScorer(slices, {base: levels or 0.5})
    return ContenderScoring(training, scorer, share=share), Contender(base, "base network")


def test_a_score_is_a_point_of_the_curve():
    found, base = scoring(0.3)
    found.measure(base, 25.0, of=1, first=True)
    assert base.curve.times == [25.0]
    assert base.curve.means == pytest.approx([0.3])
    assert base.scores[0].reward == pytest.approx(0.7)
    assert not base.failed


@pytest.mark.parametrize(("trained", "of", "cases"), [(80.0, 1, 20), (80.0, 2, 10), (8.0, 1, 4)])
def test_the_first_score_is_of_as_many_cases_as_a_share_of_the_turn_takes(trained, of, cases):
    found, base = scoring(seconds=3600)
    found.measure(base, trained, of=of, first=True)
    assert found.scorer.number == cases
    found.scorer.number = None
    found.measure(base, 2 * trained, of=of, first=False)
    assert found.scorer.number is None  # later scores are of the same ones


def test_without_a_time_budget_all_cases_are_scored():
    found, base = scoring()
    found.measure(base, 80.0, of=1, first=True)
    assert not hasattr(found.scorer, "number")


def test_one_without_a_score_is_out(caplog):
    found, base = scoring()
    found.scorer.levels = {base.architecture: None}
    with caplog.at_level(logging.WARNING):
        found.measure(base, 25.0, of=1, first=False)
    assert base.failed
    assert base.scores == base.curve.times == []
    assert caplog.messages == [f"race: base network {base.architecture.id} has no score: failed"]


def test_all_cases_are_scored_where_the_chosen_ones_have_no_foreground():
    found, base = scoring()
    found.scorer.levels, chosen = {base.architecture: None}, []

    def choose_all():
        chosen.append("all")
        found.scorer.levels = {base.architecture: 0.4}

    found.scorer.sampler.choose_all = choose_all
    found.measure(base, 25.0, of=1, first=True)
    assert chosen == ["all"]
    assert base.curve.means == pytest.approx([0.4])

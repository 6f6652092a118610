# SPDX-License-Identifier: Apache-2.0
"""A race whose objective is more than the Dice."""

from dataclasses import replace

import pytest
from ignite.engine import Events

from monai_ronas.engines.forecast import Prior
from monai_ronas.engines.race import Race
from tests.engines.racing import CurveScorer, listed, make_race
from tests.engines.scripted import ScriptedBudget, other_than_base
from tests.toys import toy_slices


def test_the_objective_decides_between_equal_errors():
    slices = toy_slices()
    space = slices.network.space
    favourite = other_than_base(space)
    race = make_race(slices, objective=lambda score, a: score.reward * (1.2 if a == favourite else 1.0))
    assert race.decide(listed(space)).architecture == favourite


@pytest.mark.parametrize(
    ("factor", "level", "turns", "wins"),
    [
        (1.3, 0.5, [1, 1], True),
        (1.01, 0.5, [1, 1], True),
        (1.001, 0.5, [1, 0], False),  # behind, as it is expected to have a larger error
        (0.7, 0.5, [1, 0], False),
        (1.01, 1.5, [1, 1], False),  # ahead by its cost until it has been trained
    ],
)
def test_what_a_contender_costs_is_known_before_its_first_turn(factor, level, turns, wins):
    """Nothing is worth a turn but for the objective."""
    slices = toy_slices()
    space = slices.network.space
    other = other_than_base(space)
    prior = Prior(own_sd=0.05, noise=0.02, lead_sd=0.05 if level == 0.5 else 0.2)
    costs = {"objective": lambda score, a: score.reward * (factor if a == other else 1.0)}
    assert not make_race(slices, prior=Prior()).is_worth_holding(2)
    race = make_race(slices, {other: level}, prior=prior, **costs)
    assert race.is_worth_holding(2)
    assert not race.is_worth_holding(1)
    leader = race.decide(listed(space))
    assert [len(c.scores) for c in race.contenders] == turns
    assert leader.architecture == (other if wins else space.base)


def test_cheaper_contenders_do_not_take_more_time_than_turns_may():
    """Ten seconds a step in ten minutes: after two first turns of 15 of the 60 steps, a third is more than half."""
    slices = toy_slices()
    space = slices.network.space
    budget = ScriptedBudget(10, reserve=0.0)
    costs = {"objective": lambda score, a: score.reward * (1.0 if a == space.base else 1.3)}
    race = Race(slices, CurveScorer(slices, {}), space, budget, steps=1, prior=Prior(), least_steps=15, **costs)

    def spend(engine):
        budget.spent_before += 10.0

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, spend)
    leader = race.decide({**listed(space), space.base.replace(activation="RELU"): "third"})
    assert [len(c.scores) for c in race.contenders] == [1, 1, 0]
    assert leader is race.contenders[1]


def test_the_seconds_of_a_score_are_expected_by_the_operations():
    slices = toy_slices()
    space = slices.network.space
    other = other_than_base(space)
    seen = {}

    def objective(score, architecture):
        seen.setdefault(architecture, score.seconds)
        return score.reward * score.seconds**-0.5

    race = make_race(slices, prior=Prior(), objective=objective, operations=lambda a: 3.0 if a == other else 12.0)
    score = race.scorer.score
    race.scorer.score = lambda a: replace(score(a), seconds=8.0 if a == space.base else 2.0)
    assert race.decide(listed(space)).architecture == other
    assert seen == {space.base: 8.0, other: 2.0}

# SPDX-License-Identifier: Apache-2.0
"""Contenders of a race that cannot be trained or scored."""

import math

import pytest
from ignite.engine import Events

from monai_ronas.utils import ChildScore, TrainingError
from tests.engines.racing import listed, make_race
from tests.engines.scripted import other_than_base
from tests.toys import toy_slices


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_is_out_and_the_race_goes_on(failing):
    space = toy_slices().network.space
    architectures = list(listed(space))
    race = make_race(levels={architectures[failing]: None})
    assert race.decide(listed(space)).architecture == architectures[1 - failing]
    assert race.contenders[failing].failed


def test_where_all_fail_the_search_says_so():
    space = toy_slices().network.space
    race = make_race(levels=dict.fromkeys(listed(space)))
    with pytest.raises(TrainingError, match="no contender can be scored"):
        race.decide(listed(space))


def test_a_leader_that_fails_after_its_first_turn_is_left_for_the_next_best():
    slices = toy_slices()
    space = slices.network.space
    favourite, third = other_than_base(space), space.base.replace(activation="RELU")
    race = make_race(slices, {favourite: 0.47, third: 0.48}, steps=300)
    score = race.scorer.score

    def forgetful(architecture):
        number = sum(a == architecture for a, _ in race.scorer.calls)
        if architecture == favourite and number:
            return ChildScore(math.nan, (math.nan,) * 4, seconds=0.0, peak_memory_mb=1.0, status="oom")
        return score(architecture)

    race.scorer.score = forgetful
    leaders = []
    found = race.decide({**listed(space), third: "random"}, between=lambda: leaders.append(race.leader.architecture))
    assert favourite in leaders
    assert race.contenders[1].failed
    assert race.expected(race.contenders[1]) is None
    assert found.architecture == third
    assert slices.steps == found.trained


def test_one_whose_training_breaks_off_does_not_take_steps_from_the_others():
    slices = toy_slices(slice_steps=3)
    space = slices.network.space

    def fail(engine):
        if slices.network.architecture == space.base and engine.state.iteration == 2:
            raise TrainingError("no more")

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    race = make_race(slices, steps=150)
    found = race.decide(listed(space))
    assert race.contenders[0].failed
    assert race.contenders[0].state is None
    assert found.architecture == other_than_base(space)
    assert slices.steps == found.trained > 0
    assert slices.steps % 3 == 0
    assert race.spent_steps == found.trained + 2


@pytest.mark.parametrize("bad", [2, 4])
def test_probabilities_that_are_no_numbers_count_as_wrong(bad):
    slices = toy_slices()
    space = slices.network.space
    race = make_race(slices, steps=150)
    score = race.scorer.score

    def broken(architecture):
        found = score(architecture)
        if architecture == space.base:
            return found
        soft = tuple(math.nan if n < bad else s for n, s in enumerate(found.soft))
        return ChildScore(found.reward, found.per_case, seconds=0.0, peak_memory_mb=1.0, soft=soft)

    race.scorer.score = broken
    assert race.decide(listed(space)).architecture == space.base
    other = race.contenders[1]
    assert not other.failed
    assert other.curve.errors[0][:bad] == (1.0,) * bad
    assert len(other.scores) == 1

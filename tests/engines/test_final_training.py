# SPDX-License-Identifier: Apache-2.0
"""What comes after the choice: the cases of the final training, and the last scores."""

import math

import pytest
from ignite.engine import Events

from monai_ronas.handlers import FiniteSteps
from monai_ronas.utils import ChildScore
from tests.engines.scripted import Scorer, ScriptedBudget, ScriptedTester, make_end, other_than_base
from tests.toys import toy_slices


def test_the_final_training_has_the_reward_cases_once_they_have_decided():
    slices = toy_slices()
    sampler = slices.trainer.data_loader.sampler
    sampler.data_source = range(1)
    drawn = []
    slices.trainer.add_event_handler(Events.ITERATION_STARTED, lambda e: drawn.append(len(e.state.batch)))
    scorer = Scorer(gain=0.2, favourite=other_than_base(slices.network.space))
    end = make_end(scorer, slices=slices, final_cases=3)
    result = end.run()
    spent = end.race.spent_steps
    assert drawn[:spent] == [1] * spent
    assert 2 in drawn[spent:]
    turns = sum(len(c.scores) for c in end.race.contenders)
    assert len(scorer.calls) == turns  # none after the final training, which has seen the cases
    assert result.score.reward == pytest.approx(0.7)
    assert "before the final training" in result.remark


def test_the_trained_network_is_scored_on_the_test_cases_at_the_very_end():
    slices = toy_slices()
    tester = Scorer(gain=0.3, favourite=slices.network.space.base)
    steps = []
    tester.estimated_seconds = lambda seconds_per_run: 0.0
    tester.score = lambda a, score=tester.score: steps.append(slices.steps) or score(a)
    result = make_end(Scorer(), slices=slices, tester=tester).run()
    assert steps == [result.steps]
    assert result.test.reward == pytest.approx(0.8)
    assert result.remark == ""


@pytest.mark.parametrize("least", [1, 10**6])
def test_a_training_that_was_too_short_is_warned_of(least, caplog, monkeypatch):
    monkeypatch.setattr("monai_ronas.engines.exploitation.LEAST_STEPS", least)
    result = make_end(Scorer(), slices=toy_slices()).run()
    told = f"{result.steps} steps are too few for a usable network: give the search more time"
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warned if text.startswith(told)]) == (least > result.steps)


@pytest.mark.parametrize(("final_cases", "test_cases", "seconds"), [(None, 0, 8), (3, 0, 0), (None, 3, 20), (3, 3, 12)])
def test_the_last_scores_have_their_time(final_cases, test_cases, seconds):
    tester = Scorer() if test_cases else None
    if tester:
        tester.estimated_seconds = lambda seconds_per_run: 1.5 * seconds_per_run
    end = make_end(Scorer(), final_cases=final_cases, tester=tester)
    scorer = end.engine.scorer
    scorer.seconds = 8.0  # of four cases
    reserves = []
    end.slices.trainer.add_event_handler(Events.ITERATION_STARTED, lambda: reserves.append(end.budget.reserve))
    end.run()
    spent = end.race.spent_steps
    assert set(reserves[:spent]) == {8.0}
    assert set(reserves[spent:]) == {8.0 + seconds}


def timed_end(test_seconds, *, minutes=1.0, checkpoint=None):
    """The end of a search without a race, on a clock of its own, where a step takes a second and a slice two."""
    budget = ScriptedBudget(minutes, reserve=7.0)
    tester = ScriptedTester(budget, seconds=test_seconds)
    tester.estimated_seconds = lambda seconds_per_run: test_seconds
    more = {"best_child": False, "checkpoint": checkpoint}
    end = make_end(Scorer(), tester=tester, budget=budget, final_cases=3, **more)
    end.engine.scorer.seconds = 8.0  # of four cases: too long to score them anew
    end.race._is_worth = lambda first: False

    def spend():
        budget.now += 1.0

    end.slices.trainer.add_event_handler(Events.ITERATION_STARTED, spend)
    return end


@pytest.mark.parametrize(
    ("seconds", "kept", "steps", "scored"),
    [(0.125, 1.0, 52, 8), (0.4, 3.0, 50, 7), (2.0, 3.0, 50, 1), (2.9, 3.0, 50, 1), (3.1, 0.0, 53, 0)],
)
def test_as_many_test_cases_are_scored_as_the_time_allows(seconds, kept, steps, scored, caplog):
    """A twentieth of a minute is kept for them, seven seconds for the export; the final training has the rest."""
    end = timed_end(seconds)
    result = end.run()
    assert end.budget.reserve == 7.0 + kept
    assert result.steps == steps
    assert end.budget.elapsed() == pytest.approx(steps + scored * seconds)
    told = f"Dice on {scored} of the 8 test cases, the time did not allow more"
    assert (told in caplog.text) == (0 < scored < 8)
    assert ("left to evaluate.json: one would take about 3 s" in caplog.text) == (scored == 0)
    assert (result.test is not None, result.test_cases) == (scored > 0, 8)
    assert result.test_names == tuple(f"test{7 - n}" for n in range(scored))


def test_reward_cases_that_take_all_the_time_leave_none_for_the_test_cases():
    end = timed_end(1.0)
    end.final_cases = None
    scorer, score = end.engine.scorer, end.engine.scorer.score
    scorer.seconds = 80.0  # more than the minute that there is

    def spend(architecture):
        end.budget.now += 55.0
        return score(architecture)

    scorer.score = spend
    result = end.run()
    assert result.test is None
    assert end.budget.elapsed() == 1.0 + 55.0  # a step, and the reward cases


class Kept:
    """In the place of a checkpoint; remembers the last state."""

    def __init__(self):
        self.interrupted = {}

    def save_within(self, engine, stretch, state, *, at_once=False):
        self.interrupted = {stretch: state}


@pytest.mark.parametrize(
    ("minutes", "seconds", "kept", "scored"),
    [(2.0, 3.1, 6.0, 1), (1.5, 0.5, 4.0, 8), (1.2, 3.7, 0.0, 0), (1.5, 0.25, 2.0, 8)],
)
def test_with_more_time_after_the_end_the_test_cases_are_scored_anew(minutes, seconds, kept, scored):
    """After a minute none, six, none and four of them have been scored."""
    checkpoint = Kept()
    first = timed_end(seconds, checkpoint=checkpoint)
    before = first.run()
    end = timed_end(seconds, minutes=minutes, checkpoint=checkpoint)
    end.budget.spent_before = first.budget.elapsed()
    end.slices.load_state_dict(first.slices.state_dict())
    result = end.run()
    assert end.budget.reserve == 7.0 + kept
    assert result.steps > before.steps
    assert end.tester.scored == [scored] * (scored > 0)
    assert len(result.test_names) == scored
    assert (result.test is None) == (scored == 0)
    assert 60 * minutes - 7 - 3.1 < end.budget.elapsed() <= 60 * minutes - 7 + 1


def test_without_a_limit_of_time_all_test_cases_are_scored(caplog):
    end = timed_end(1000.0, minutes=None)
    result = end.run()
    assert (len(result.test.per_case), result.test_cases) == (8, 8)
    assert "test cases" not in caplog.text


def test_a_candidate_that_diverges_leaves_the_learning_rate_of_the_final_training_alone():
    slices = toy_slices()
    FiniteSteps(patience=2).attach(slices.trainer)
    base, other = slices.network.space.base, other_than_base(slices.network.space)
    loss_function, rates = slices.trainer.loss_function, {base: [], other: []}
    slices.trainer.loss_function = lambda *given: (
        loss_function(*given)
        * (math.nan if slices.network.architecture == other and len(rates[other]) in (0, 1, 4, 5) else 1.0)
    )

    def note():
        group = slices.trainer.optimizer.param_groups[0]
        rates.setdefault(slices.network.architecture, []).append(group["initial_lr"])

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    slices.run(lambda: other)  # as in an episode
    slices.run(lambda: other)
    end = make_end(Scorer(gain=-0.1, favourite=other), slices=slices)
    result = end.run()
    assert result.architecture == base
    full = rates[base][0]
    assert full / 2 in rates[other][:4]
    assert rates[other][4] == full
    assert full / 2 in rates[other][4:]  # in the race again
    assert set(rates[base]) == {full}
    assert full == pytest.approx(1e-2)


def test_a_test_score_that_is_none_is_not_told(caplog):
    tester = Scorer()
    tester.estimated_seconds = lambda seconds_per_run: 0.0
    tester.score = lambda a: ChildScore(math.nan, (math.nan,), seconds=0.0, peak_memory_mb=0.0, status="oom")
    assert make_end(Scorer(), tester=tester).run().test is None
    assert "the test cases have no score: oom" in caplog.text

# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.engines import EpisodeEvents, Race
from monai_ronas.engines.forecast import Prior
from monai_ronas.handlers import SearchBudget
from monai_ronas.utils import TimeBudget
from monai_ronas.utils.ranks import _ranks
from tests.engines.scripted import ScriptedBudget
from tests.toys import toy_slices


def make_handler(budget, slices, *, until=0.4, prior=None, **more):
    """With a race after the episodes that is not held with the default prior."""
    return SearchBudget(Race(slices, None, slices.network.space, budget, steps=100, prior=prior), until=until, **more)


@pytest.mark.parametrize(("until", "episodes"), [(0.35, 3), (1.0, 9), (0.01, 1)])
def test_ends_behind_which_another_episode_would_not_fit(make_engine, until, episodes):
    """Episodes of six minutes each in an hour of which a share is the search's."""
    budget = TimeBudget(60, reserve=0.0)
    slices = toy_slices()
    engine = make_engine(slices, [make_handler(budget, slices, until=until)], episodes=9)

    @engine.on(EpisodeEvents.CHILDREN_SAMPLED)
    def spend(e):
        budget.spent_before += 360.0

    engine.run()
    assert engine.state.epoch == episodes


@pytest.mark.parametrize(("until", "more"), [(0.5, 0), (1.0, 2)])
def test_continued_when_its_time_is_up_a_search_makes_no_more_episodes(make_engine, until, more):
    """Two episodes were made before, and three quarters of the hour are spent."""
    budget = TimeBudget(60, reserve=0.0)
    first = make_engine(toy_slices(), episodes=2)
    first.run()
    slices = toy_slices()
    engine = make_engine(slices, [make_handler(budget, slices, until=until)], episodes=4)
    engine.load_state_dict(first.state_dict())
    budget.spent_before = 2700.0
    engine.run()
    assert engine.state.epoch == 2 + more


@pytest.mark.parametrize(
    ("seconds", "least", "maximum", "made"),
    [
        (100.0, 10, 9, 0),  # two children of 100 s each: nine episodes take half an hour, there are six minutes
        (100.0, 1, 9, 9),  # one fits; the scores that the test makes take no time
        (100.0, 10, 1, 1),  # no more is asked for
        (10.0, 10, 20, 20),
        (20.0, 10, 20, 0),
    ],
)
def test_no_episode_where_too_few_would_fit(make_engine, caplog, seconds, least, maximum, made):
    budget = ScriptedBudget(60, reserve=0.0)
    slices = toy_slices()
    handler = make_handler(budget, slices, until=0.1, least_episodes=least)
    engine = make_engine(slices, [handler], episodes=maximum)
    engine.scorer.seconds_of_a_case = lambda: seconds
    with caplog.at_level("INFO"):
        engine.run()
    assert engine.state.epoch == made
    number = min(least, maximum)
    told = f"no episodes: {number} would take {2 * seconds * number:.0f} s or more, and there are 360 s"
    assert (told in caplog.messages) == (made == 0)


@pytest.mark.parametrize(
    ("pace", "maximum", "spent", "fits"),
    [
        (3.0, 9, 0.0, True),  # eight episodes of two children of two steps each: 96 s, and there are 180 s
        (3.0, 9, 90.0, False),
        (6.0, 9, 0.0, False),
        (6.0, 4, 0.0, True),  # no more than four are asked for
        (None, 9, 1000.0, True),
    ],
)
def test_the_planned_pace_tells_whether_there_is_time_before_anything_is_trained(
    make_engine, pace, maximum, spent, fits
):
    budget = TimeBudget(30, reserve=0.0)
    slices = toy_slices()
    handler = make_handler(budget, slices, until=0.1, seconds_per_step=pace)
    engine = make_engine(slices, [], episodes=maximum)
    budget.spent_before = spent
    assert handler.are_worth_it(engine) == fits
    assert make_handler(TimeBudget(None), slices, seconds_per_step=1e9).are_worth_it(engine)


@pytest.mark.parametrize(("scoring", "fits"), [(5.0, True), (6.0, False)])
def test_scores_count_before_anything_is_trained(make_engine, caplog, scoring, fits):
    """Eight episodes of two children of two steps of 3 s and a score each, and there are 180 s."""
    slices = toy_slices()
    handler = make_handler(TimeBudget(30, reserve=0.0), slices, until=0.1, seconds_per_step=3.0)
    engine = make_engine(slices, [], episodes=9)
    engine.scorer.seconds_of_a_case = lambda: scoring
    with caplog.at_level("INFO"):
        assert handler.are_worth_it(engine) == fits
    assert ("no episodes: 8 would take 192 s or more" in caplog.text) != fits


def test_the_time_of_an_episode_is_that_of_its_slices_and_scores(make_engine):
    slices = toy_slices()
    handler = make_handler(TimeBudget(60), slices)
    engine = make_engine(slices, [handler], children=3)
    assert handler.seconds_of_an_episode(engine) == pytest.approx(3 * 0.25)
    slices.trainer.state.times["EPOCH_COMPLETED"] = 7.0
    assert handler.seconds_of_an_episode(engine) == pytest.approx(3 * 7.25)


@pytest.mark.parametrize(
    ("ranks", "at_once", "turns", "cases"),
    [(1, None, 10, 1), (4, None, 3, 1), (16, None, 1, 1), (1, 4, 10, 1), (2, 4, 5, 1), (4, 1, 10, 0.5)],
)
def test_the_time_of_an_episode_of_many_processes(make_engine, monkeypatch, ranks, at_once, turns, cases):
    """Ten children on two cases of a quarter of a second each; where steps are shared, the cases are dealt."""
    slices = toy_slices()
    handler = make_handler(TimeBudget(60), slices)
    engine = make_engine(slices, [handler], children=10, at_once=at_once)
    engine.scorer.sampler.per_episode = 2
    monkeypatch.setattr(_ranks, "number", ranks)
    assert handler.seconds_of_an_episode(engine, 7.0) == pytest.approx(turns * (7.0 + cases * 0.5))


def test_without_a_budget_all_episodes_are_made(make_engine):
    slices = toy_slices()
    engine = make_engine(slices, [make_handler(TimeBudget(None), slices, until=0.01)], episodes=3)
    engine.run()
    assert engine.state.epoch == 3


@pytest.mark.parametrize(
    ("lead_sd", "until", "minutes", "made"),
    [
        (0.2, None, 60, 0),  # no race would follow
        (0.2, 0.5, 60, 3),  # the user asks for episodes
        (2.0, None, 60, 3),
        (0.2, None, None, 3),  # without a time budget their number is a setting
    ],
)
def test_no_episode_where_no_race_would_follow(make_engine, caplog, lead_sd, until, minutes, made):
    slices = toy_slices()
    handler = make_handler(TimeBudget(minutes), slices, until=until, prior=Prior(lead_sd=lead_sd))
    engine = make_engine(slices, [handler], episodes=3)
    assert handler.until == (0.12 if until is None else until)
    with caplog.at_level("INFO"):
        assert handler.are_worth_it(engine) == (made > 0)
        engine.run()
    assert engine.state.epoch == made
    told = "no episodes: no race would follow that chooses from them (search_until asks for them)"
    assert (told in caplog.messages) == (made == 0)

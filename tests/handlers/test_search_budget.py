# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.engines import EpisodeEvents
from monai_ronas.handlers import SearchBudget
from monai_ronas.utils import TimeBudget
from tests.toys import toy_slices


@pytest.mark.parametrize(("until", "episodes"), [(0.35, 3), (1.0, 9), (0.01, 1)])
def test_ends_behind_which_another_episode_would_not_fit(make_engine, until, episodes):
    """Episodes of six minutes each in an hour of which a share is the search's."""
    budget = TimeBudget(60, reserve=0.0)
    engine = make_engine(toy_slices(), [SearchBudget(budget, until=until)], episodes=9)

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
    engine = make_engine(toy_slices(), [SearchBudget(budget, until=until)], episodes=4)
    engine.load_state_dict(first.state_dict())
    budget.spent_before = 2700.0
    engine.run()
    assert engine.state.epoch == 2 + more


def test_no_episode_where_the_scores_of_one_take_longer_than_its_time(make_engine, caplog):
    budget = TimeBudget(60, reserve=0.0)
    engine = make_engine(toy_slices(), [SearchBudget(budget, until=0.1)], episodes=9)
    engine.scorer.seconds_of_a_case = lambda: 100.0
    with caplog.at_level("INFO"):
        engine.run()
    assert engine.state.epoch == 0
    assert "no episodes: the scores of one would take" in caplog.text


def test_without_a_budget_all_episodes_are_made(make_engine):
    engine = make_engine(toy_slices(), [SearchBudget(TimeBudget(None), until=0.01)], episodes=3)
    engine.run()
    assert engine.state.epoch == 3

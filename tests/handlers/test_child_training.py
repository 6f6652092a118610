# SPDX-License-Identifier: Apache-2.0
import pytest
from ignite.engine import Events

from monai_ronas.engines import EpisodeEvents
from monai_ronas.handlers import ChildTraining, WarmUp
from monai_ronas.utils import TimeBudget
from tests.toys import toy_slices


def test_every_child_is_trained_for_a_slice_and_scored_at_once(make_engine):
    slices = toy_slices(slice_steps=3)
    engine = make_engine(slices, [ChildTraining(slices)], episodes=1)
    trained = []
    slices.trainer.add_event_handler(Events.ITERATION_STARTED, lambda e: trained.append(slices.network.architecture))
    engine.run()
    children = engine.state.children
    assert trained == [children[0]] * 3 + [children[1]] * 3
    assert engine.state.rewards == [3.0, 6.0]


def test_a_child_that_memory_does_not_suffice_for_is_not_scored(make_engine):
    slices = toy_slices()
    engine = make_engine(slices, [ChildTraining(slices)], episodes=1, children=3)

    def fail(e):
        e.state.out_of_memory = slices.steps == 4

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.score.status))
    engine.run()
    assert seen == ["ok", "oom", "ok"]


def test_warm_up_and_children_train_at_the_full_rate(make_engine):
    slices = toy_slices(slice_steps=3, learning_rate=0.02)
    slices.ramp_steps = 0
    space = slices.network.space
    handlers = [WarmUp(slices, space, TimeBudget(None), steps=3), ChildTraining(slices)]
    rates = []
    slices.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: rates.append(e.optimizer.param_groups[0]["lr"])
    )
    engine = make_engine(slices, handlers, episodes=1)
    engine.run()
    assert rates == pytest.approx([0.02] * 9)


def test_children_whose_time_is_up_leave_the_episode(make_engine):
    """Every slice takes six minutes, the episodes have nine: two children of three are trained and scored."""
    slices = toy_slices()
    budget = TimeBudget(60, reserve=0.0)
    training = ChildTraining(slices, budget, until=0.15)
    engine = make_engine(slices, [training], episodes=2, children=3)

    def spend(e):
        budget.spent_before += 180.0

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, spend)
    seen = []
    engine.add_event_handler(
        EpisodeEvents.POLICY_UPDATED, lambda e: seen.append((len(e.state.rewards), len(e.state.children)))
    )
    engine.run()
    assert seen == [(2, 2), (1, 1)]  # the first child of an episode always has its turn
    assert engine.state.epoch == 2
    assert engine.state.indices.shape == (1, len(slices.network.space))

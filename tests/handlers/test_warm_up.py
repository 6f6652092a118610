# SPDX-License-Identifier: Apache-2.0
from itertools import islice

import pytest
from ignite.engine import Engine, Events

from monai_ronas.engines import Race
from monai_ronas.handlers import SearchBudget, SearchCheckpoint, WarmUp
from monai_ronas.utils import TimeBudget
from tests.toys import toy_slices


def race_after(slices, budget):
    """The race that would follow the episodes."""
    return Race(slices, None, slices.network.space, budget, steps=100)


def test_the_largest_comes_first_then_the_base_network_then_random_ones():
    slices = toy_slices()
    space = slices.network.space
    order = list(islice(WarmUp(slices, space, TimeBudget(None), steps=4).order(), 401))
    assert order[:2] == [space.largest, space.base]
    assert next(WarmUp(slices, space, TimeBudget(None), steps=4).order(done=1)) == space.base
    assert len(set(order)) > 200
    assert order == list(islice(WarmUp(slices, space, TimeBudget(None), steps=4).order(), 401))
    assert order[2:] != list(islice(WarmUp(slices, space, TimeBudget(None), steps=4, seed=1).order(done=2), 399))


def test_each_step_trains_its_architecture_at_the_full_rate():
    slices = toy_slices(learning_rate=0.02)
    slices.ramp_steps = 0
    warm_up = WarmUp(slices, slices.network.space, TimeBudget(None), steps=6)
    expected = list(islice(WarmUp(slices, slices.network.space, TimeBudget(None), steps=6).order(), 6))
    seen = []
    slices.trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: seen.append((slices.network.architecture, e.optimizer.param_groups[0]["lr"])),
    )
    engine = Engine(lambda e, b: None)
    warm_up.attach(engine)
    engine.run(range(1), max_epochs=1, epoch_length=1)
    assert seen == [(architecture, 0.02) for architecture in expected]


@pytest.mark.parametrize(("epoch", "steps"), [(0, 6), (3, 0)])
def test_runs_once_and_not_on_resuming(epoch, steps):
    slices = toy_slices()
    warm_up = WarmUp(slices, slices.network.space, TimeBudget(None), steps=6)
    engine = Engine(lambda e, b: None)
    warm_up.attach(engine)
    if epoch:
        engine.load_state_dict({"epoch": epoch, "epoch_length": 1, "max_epochs": epoch + 1})
    engine.run(range(1), max_epochs=epoch + 1, epoch_length=1)
    assert slices.steps == steps


@pytest.mark.parametrize("stretch", ["race", "final training"])
@pytest.mark.parametrize("minutes", [60, None])
def test_there_is_none_after_the_episodes(make_engine, tmp_path, stretch, minutes):
    slices, budget = toy_slices(), TimeBudget(minutes)
    checkpoint = SearchCheckpoint(tmp_path, slices, budget, identity={})
    checkpoint.interrupted = {stretch: {}}
    episodes = SearchBudget(race_after(slices, budget), checkpoint=checkpoint)
    warm_up = WarmUp(slices, slices.network.space, budget, steps=6, episodes=episodes, checkpoint=checkpoint)
    engine = make_engine(slices, [warm_up, episodes], episodes=3)
    engine.run()
    assert (slices.steps, engine.state.epoch) == (0, 0)
    assert checkpoint.interrupted == {stretch: {}}  # for whom it may concern


@pytest.mark.parametrize(
    ("pace", "until", "fits"),
    [
        (5.0, 0.0, True),  # ten episodes of two children of two steps each: 200 s, and there are 360 s
        (9.5, 0.0, False),
        (9.5, 0.05, False),  # the warm-up would take 180 of them
        (5.0, 0.05, False),
        (None, 0.0, True),
    ],
)
def test_neither_warm_up_nor_episode_where_the_planned_pace_leaves_no_time(make_engine, caplog, pace, until, fits):
    budget = TimeBudget(60, reserve=0.0)
    slices = toy_slices()
    episodes = SearchBudget(race_after(slices, budget), until=0.1, least_episodes=10, seconds_per_step=pace)
    warm_up = WarmUp(slices, slices.network.space, budget, steps=6, until=until, episodes=episodes)
    engine = make_engine(slices, [warm_up, episodes], episodes=20)
    engine.scorer.seconds_of_a_case = lambda: 0.0
    slices.trainer.state.times["EPOCH_COMPLETED"] = 0.0
    with caplog.at_level("INFO"):
        engine.run()
    assert (slices.steps > 0) == fits
    assert (engine.state.epoch > 0) == fits
    told = f"no episodes: 10 would take {40 * (pace or 0):.0f} s or more, and there are {360 - 3600 * until:.0f} s"
    assert caplog.text.count(told) == (not fits)
    assert caplog.text.count("no episodes") == (not fits)

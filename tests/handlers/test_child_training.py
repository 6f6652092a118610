# SPDX-License-Identifier: Apache-2.0
import os

import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import EpisodeEvents
from monai_ronas.handlers import ChildTraining, MeanGradients, WarmUp
from monai_ronas.utils import ChildScore, RankError, TimeBudget, TrainingError
from monai_ronas.utils.ranks import apart, number_of_ranks, own_rank
from tests.ranks import in_ranks
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


def searched(make_engine, *, at_once=None, children=5, spoil=None):
    """Two episodes whose rewards follow from the weights: what there is to see of them in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    slices = toy_slices()
    MeanGradients().attach(slices.trainer)
    engine = make_engine(slices, [ChildTraining(slices)], children=children, at_once=at_once)
    found = {"rewards": [], "status": [], "alone": []}

    def score(architecture):
        size = sum(float(w.double().abs().sum()) for w in slices.network.derive(architecture).state_dict().values())
        return ChildScore(size, (size,), 0.0, 0.0)

    def start(engine):
        found["alone"].append(number_of_ranks())

    engine.scorer.score = score
    engine.add_event_handler(EpisodeEvents.CHILD_SELECTED, start)
    if spoil is not None:
        slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: spoil(e, engine))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: found["status"].append(e.state.score.status))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: found["rewards"].append(list(e.state.rewards)))
    engine.run()
    torch.set_num_threads(threads)
    return {
        **found,
        "children": [child.id for child in engine.state.children],
        "weights": slices.network.state_dict(),
        "policy": engine.controller.state_dict(),
        "steps": slices.steps,
        "random": torch.get_rng_state(),
        "limit": slices.trainer.prepare_batch.resources.memory_gb,
    }


def assert_alike(one, other, *, exact=True):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-5}
    for key in ("children", "status", "steps", "limit"):
        assert one[key] == other[key], key
    torch.testing.assert_close(one["rewards"], other["rewards"], equal_nan=True, **tolerance)
    for key in ("weights", "policy") if exact else ("weights",):  # Adam makes a policy's small differences large
        assert one[key].keys() == other[key].keys()
        for name, value in one[key].items():
            torch.testing.assert_close(value, other[key][name], msg=name, **tolerance)
    assert torch.equal(one["random"], other["random"])


@pytest.mark.parametrize("number", [2, 4])
def test_processes_train_a_child_each_as_a_single_one_with_as_many_at_once(make_engine, tmp_path, number):
    """The last round of an episode has a single child, so that the other processes have nothing to do."""
    ranks = in_ranks(lambda: searched(make_engine), tmp_path, number=number)
    alone = searched(make_engine, at_once=number)
    for found in ranks:
        assert_alike(found, alone, exact=number == 2)  # the sum of four depends on their order
        assert set(found["alone"]) == {1}
    assert [len(found["alone"]) for found in ranks] == ([6, 4] if number == 2 else [4, 2, 2, 2])
    assert len(alone["alone"]) == 10


def test_children_of_a_round_begin_alike_and_go_on_from_what_all_have_learnt(make_engine):
    slices = toy_slices(slice_steps=3)
    engine = make_engine(slices, [ChildTraining(slices)], episodes=1, children=4, at_once=2)
    begun = []

    def note(e):
        if (e.state.iteration - 1) % 3 == 0:
            begun.append((e.state.iteration, [weight.clone() for weight in slices.network.state_dict().values()]))

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, note)
    engine.run()
    assert [step for step, _ in begun] == [1, 1, 4, 4]
    same = [all(map(torch.equal, begun[0][1], other)) for _, other in begun]
    assert same == [True, True, False, False]
    assert all(map(torch.equal, begun[2][1], begun[3][1]))
    assert engine.state.rewards == [3.0, 3.0, 6.0, 6.0]


def test_the_copy_of_a_child_has_crops_of_its_own_in_the_same_round(make_engine):
    """Its other reward tells the noise, which it could not with the same crops."""
    found = searched(make_engine, at_once=5)
    twice = [n for n, child in enumerate(found["children"]) if found["children"].count(child) > 1]
    rewards = [found["rewards"][-1][n] for n in twice]
    assert len(twice) >= 2
    assert len(set(rewards)) == len(rewards)


def test_what_one_process_lacks_memory_for_is_told_by_all(make_engine, tmp_path):
    def spoil(trainer, engine):
        trainer.state.out_of_memory = engine.state.epoch == 1 and engine.state.position == 1
        if trainer.state.out_of_memory:
            trainer.prepare_batch.lower_limit(0.5)

    first, second = in_ranks(lambda: searched(make_engine, spoil=spoil), tmp_path)
    assert_alike(first, second)
    assert (first["status"], first["limit"]) == (["ok", "oom", *["ok"] * 8], 0.5)


def test_a_round_is_not_cut_short(make_engine):
    """Every slice takes six minutes, and the episodes have 21: the second round of two children is the last one."""
    slices = toy_slices()
    budget = TimeBudget(60, reserve=0.0)
    engine = make_engine(slices, [ChildTraining(slices, budget, until=0.35)], episodes=1, children=6, at_once=2)
    slices.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda: setattr(budget, "spent_before", budget.spent_before + 360)
    )
    seen = []
    engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, lambda e: seen.append(len(e.state.rewards)))
    engine.run()
    assert seen == [4]


def test_processes_may_share_the_steps_of_a_child_at_a_time(make_engine, tmp_path):
    first, second = in_ranks(lambda: searched(make_engine, at_once=1), tmp_path)
    assert_alike(first, second)
    assert first["alone"] == [2] * 10


def test_a_child_that_one_process_cannot_train_ends_all_with_the_same_sentence(make_engine, tmp_path):
    def spoil(trainer, engine):
        if engine.state.position == 1:
            raise TrainingError("no such luck")

    def search():
        with pytest.raises(TrainingError, match="no such luck"):
            searched(make_engine, spoil=spoil)
        return number_of_ranks()

    assert in_ranks(search, tmp_path) == [2, 2]


def test_a_process_that_ends_in_its_slice_is_noticed_by_one_at_work(tmp_path):
    def train_for_ever():
        slices = toy_slices()
        if own_rank() == 1:
            torch.save("gone", tmp_path / "1.pt")
            slices.network.forward = lambda image: os._exit(0)
        with apart(every_seconds=0.0):
            while True:
                slices.run(lambda: slices.network.space.base)

    def told():
        with pytest.raises(RankError, match="another process of this run has ended"):
            train_for_ever()
        return "told"

    assert in_ranks(told, tmp_path) == ["told", "gone"]

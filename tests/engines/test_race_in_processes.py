# SPDX-License-Identifier: Apache-2.0
"""The race of many processes, which train a contender each."""

import copy
import math
import random

import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines.contender import Contender
from monai_ronas.engines.forecast import Prior
from monai_ronas.engines.race import Race
from monai_ronas.handlers import MeanGradients
from monai_ronas.utils import TimeBudget, TrainingError, ranks
from monai_ronas.utils.ranks import own_rank
from tests.engines.racing import CurveScorer, listed, make_race
from tests.engines.scripted import PRIOR
from tests.ranks import in_ranks
from tests.toys import toy_slices


def some(space, number=5):
    """The base network and others."""
    found = dict.fromkeys([space.base, *(space.sample(random.Random(n)) for n in range(20))])
    return dict(zip(list(found)[:number], "abcdef"[:number], strict=True))


def raced(*, levels=None, spoil=None, steps=200):
    """What a race of five leaves in this process: the weights that each contender was scored with, and the end."""
    slices = toy_slices()
    MeanGradients().attach(slices.trainer)
    contenders = some(slices.network.space)
    names = list(contenders)
    race = make_race(slices, {names[n]: level for n, level in (levels or {}).items()}, steps=steps)
    score, seen = race.scorer.score, {}

    def note(architecture):
        weights = slices.network.derive(architecture).state_dict()
        seen[contenders[architecture], slices.steps] = {name: weight.clone() for name, weight in weights.items()}
        return score(architecture)

    race.scorer.score = note
    if spoil is not None:
        spoil(race, names)
    leader = race.decide(contenders)
    return {
        "seen": seen,
        "curves": {c.origin: c.curve for c in race.contenders},
        "failed": [c.origin for c in race.contenders if c.failed],
        "leader": leader.origin,
        "weights": slices.network.derive(leader.architecture).state_dict(),
        "steps": slices.steps,
        "spent": race.spent_steps,
        "random": torch.get_rng_state(),
        "generator": slices.trainer.prepare_batch.generator.get_state(),
        "limit": slices.trainer.prepare_batch.resources.memory_gb,
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def assert_all_alike(ranks):
    first, *others = ranks
    for found in others:
        for key in ("curves", "failed", "leader", "steps", "spent", "limit"):
            assert found[key] == first[key], key
        assert_same(found["weights"], first["weights"])
        assert torch.equal(found["random"], first["random"])
        assert torch.equal(found["generator"], first["generator"])


@pytest.mark.parametrize("number", [2, 4])
def test_processes_train_a_contender_each_as_a_single_one_does(tmp_path, number):
    ranks = in_ranks(lambda: raced(levels={3: 0.4}), tmp_path, number=number)
    alone = raced(levels={3: 0.4})
    assert_all_alike(ranks)
    assert ranks[0]["leader"] == alone["leader"] == "d"
    both = ranks[0]["seen"].keys() & alone["seen"].keys()
    assert len(both) >= 6
    for turn in both:
        assert_same(ranks[0]["seen"][turn], alone["seen"][turn])
    assert ranks[0]["steps"] == ranks[0]["curves"]["d"].times[-1]
    assert ranks[0]["spent"] < sum(curve.times[-1] for curve in ranks[0]["curves"].values() if curve.times)


def test_one_that_cannot_be_trained_in_its_process_is_out_in_all(tmp_path):
    def spoil(race, names):
        def fail(engine):
            if race.slices.network.architecture == names[1] and engine.state.iteration == 2:
                engine.prepare_batch.lower_limit(0.5)  # what this process alone has learnt
                raise TrainingError("no more")

        race.slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)

    ranks = in_ranks(lambda: raced(levels={3: 0.4}, spoil=spoil), tmp_path)
    assert_all_alike(ranks)
    assert (ranks[0]["leader"], ranks[0]["failed"], ranks[0]["limit"]) == ("d", ["b"], 0.5)


def test_a_race_of_two_processes_goes_on_in_one(tmp_path):
    def begun():
        slices = toy_slices()
        MeanGradients().attach(slices.trainer)
        race, saved = make_race(slices, steps=200), []
        race.decide(
            some(slices.network.space),
            between=lambda: saved.append(
                copy.deepcopy((race.state_dict(), slices.state_dict(), torch.get_rng_state()))
            ),
        )
        return saved, own_rank()

    (saved, rank), _ = in_ranks(begun, tmp_path)
    assert rank == 0
    state, training, generator = saved[0]
    assert [bool(c["scores"]) for c in state["contenders"]] == [True, True, False, False, False]
    race = make_race(steps=200)
    race.slices.load_state_dict(training)
    torch.set_rng_state(generator)
    race.load_state_dict(state)
    race.decide({})
    assert [c.curve.times[:1] for c in race.contenders if c.curve.times] == [[4.0]] * 5
    assert race.slices.steps == race.leader.trained


@pytest.mark.parametrize(
    ("prior", "from_number"),
    [
        (Prior(slope=0.4, slope_sd=0.2, own_sd=0.1, noise=0.05, lead=-0.1, lead_sd=0.2), 6),
        (Prior(lead_sd=0.4), 4),
        (Prior(lead=0.0), 1),
        (Prior(), math.inf),  # of curves as they were measured
    ],
)
def test_the_more_contenders_train_at_once_the_sooner_a_race_is_worth_its_time(monkeypatch, prior, from_number):
    race = make_race(prior=prior)
    race.contenders.extend(Contender(a, origin) for a, origin in some(race.space, 6).items())
    worth = {}
    for number in (1, 2, 4, 6, 64):
        monkeypatch.setattr(ranks._ranks, "number", number)
        worth[number] = race._is_worth(race.first_turn * race.left)
    assert worth == {number: number >= from_number for number in worth}


def test_under_a_time_budget_the_turns_of_all_processes_are_as_long(tmp_path):
    def timed():
        slices = toy_slices()
        MeanGradients().attach(slices.trainer)
        space = slices.network.space
        race = Race(slices, CurveScorer(slices, {}), space, TimeBudget(0.2, reserve=0.0), steps=1, prior=PRIOR)
        race._is_worth = lambda first: True
        race._surplus = lambda *args, **kwargs: -1.0  # a single turn
        race.decide(listed(space))
        return race.times[0], [c.curve.times for c in race.contenders], slices.steps, [a for a, _ in race.scorer.calls]

    first, second = in_ranks(timed, tmp_path)
    assert first == second
    length, times, steps, scored = first
    assert times == [[length], [length]]
    assert steps > 0
    assert len(scored) == 2

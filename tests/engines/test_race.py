# SPDX-License-Identifier: Apache-2.0
"""Turns of the race, who leads it, and when it ends."""

import copy
import logging

import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines.forecast import Prior
from monai_ronas.engines.race import Race
from monai_ronas.utils import TimeBudget
from tests.engines.racing import CurveScorer, listed, make_race
from tests.engines.scripted import PRIOR, other_than_base
from tests.toys import toy_slices, toy_space


def test_the_contender_that_is_better_is_found_and_its_training_is_kept(caplog):
    caplog.set_level(logging.INFO)
    slices = toy_slices()
    space = slices.network.space
    favourite = other_than_base(space)
    race = make_race(slices, {favourite: 0.3})
    leader = race.decide(listed(space))
    assert leader.architecture == favourite
    assert slices.steps == leader.trained > 0
    assert caplog.messages[0] == "race: 2 contenders"
    own = [steps for a, steps in race.scorer.calls if a == favourite]
    assert own == sorted(own) == leader.curve.times
    assert leader.curve.means[-1] == pytest.approx(0.3 * own[-1] ** -0.4)


def test_a_contender_that_is_worse_has_few_turns():
    space = toy_slices().network.space
    race = make_race(levels={other_than_base(space): 0.8})
    leader = race.decide(listed(space))
    assert leader.architecture == space.base
    worse = race.contenders[1]
    assert len(worse.scores) == 1
    assert race.spent_steps == leader.trained + worse.trained


def test_with_little_time_or_where_all_are_alike_the_race_ends_at_once(caplog):
    caplog.set_level(logging.INFO)
    space = toy_slices().network.space
    unsure = Prior(lead=-0.3, lead_sd=0.05)
    race = make_race(steps=40, prior=unsure, least_steps=2)
    assert race.decide(listed(space)).architecture == space.base
    assert race.scorer.calls == []
    assert race.slices.steps == 0
    assert caplog.messages == ["no race: no turn is worth its time"]


def test_one_contender_has_no_race():
    space = toy_slices().network.space
    race = make_race()
    leader = race.decide({space.base: "plan"})
    assert leader.architecture == space.base
    assert race.scorer.calls == []


def test_a_first_turn_that_took_too_long_for_a_race_is_not_scored():
    slices = toy_slices()
    space = slices.network.space
    budget = TimeBudget(60, reserve=0.0)
    race = Race(slices, CurveScorer(slices, {}), space, budget, steps=1, prior=PRIOR, least_steps=1)

    def spend(engine):
        budget.spent_before += 1200.0

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, spend)
    assert race.decide(listed(space)).architecture == space.base
    assert race.scorer.calls == []
    assert slices.steps == 2  # a slice, which is kept


def test_all_start_from_their_own_new_weights_with_the_same_crops():
    slices = toy_slices()
    space = slices.network.space
    race = make_race(slices, seed=3)
    seen = {}

    def note(engine):
        key = slices.network.architecture
        if key not in seen:
            weight = slices.network.encoder[0].conv1.conv.weight.detach().clone()
            rate = [g["lr"] for g in engine.optimizer.param_groups]
            seen[key] = (weight, slices.trainer.prepare_batch.generator.get_state(), torch.get_rng_state(), rate)

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, note)
    race.decide(listed(space))
    (w0, g0, t0, r0), (w1, g1, t1, r1) = seen.values()
    assert torch.equal(w0, w1)
    assert torch.equal(g0, g1)
    assert r0 == r1
    assert torch.equal(t0, t1)


def test_a_contender_goes_on_where_it_was_whatever_others_did_between():
    def weights(levels, architectures):
        slices = toy_slices()
        race = make_race(slices, levels)
        leader = race.decide(architectures)
        return leader, {k: v.clone() for k, v in slices.network.state_dict().items()}, slices

    space = toy_slices().network.space
    both, raced, _ = weights({}, listed(space))
    assert both.architecture == space.base
    slices = toy_slices()
    race = make_race(slices, {})
    race._is_worth = lambda first: True
    alone = race.decide({space.base: "plan"})
    while alone.trained < both.trained:
        race.next = alone
        race._turns()
    assert alone.curve.times == both.curve.times
    used = slices.network.derive(space.base).state_dict()
    assert all(torch.equal(raced[k][tuple(slice(s) for s in v.shape)], v) for k, v in used.items())


def test_scores_are_made_with_averaged_weights_and_training_goes_on_with_its_own():
    slices = toy_slices()
    race = make_race(slices)
    race._is_worth = lambda first: True
    weight = slices.network.encoder[0].conv1.conv.weight
    trained, scored = [], []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: trained.append(weight.detach().clone()))
    score = race.scorer.score
    race.scorer.score = lambda a: scored.append(weight.detach().clone()) or score(a)
    race.decide({slices.network.space.base: "plan"})
    average = trained[0]
    for n, own in enumerate(trained[1:], 1):
        average = average + (own - average) * 9 / (n + 9)
    assert torch.allclose(scored[0], average, atol=1e-6)
    assert torch.equal(weight, trained[-1])


def test_an_interrupted_race_goes_on_to_the_same_end():
    space = toy_slices().network.space
    levels = {other_than_base(space): 0.45}
    whole = make_race(levels=levels)
    expected = whole.decide(listed(space))
    for stop in (1, 2):
        first = make_race(levels=levels)
        saved = []

        def save(first=first, saved=saved):
            saved.append(copy.deepcopy((first.state_dict(), first.slices.state_dict(), torch.get_rng_state())))

        first.decide(listed(space), between=save)
        second = make_race(levels=levels)
        state, training, rng = saved[stop - 1]
        second.slices.load_state_dict(training)
        torch.set_rng_state(rng)
        second.load_state_dict(state)
        found = second.decide(listed(space))
        assert found.architecture == expected.architecture
        assert [c.curve for c in second.contenders] == [c.curve for c in whole.contenders]
        mine, theirs = (r.slices.network.derive(found.architecture).state_dict() for r in (second, whole))
        assert all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_under_a_time_budget_all_have_the_same_seconds():
    slices = toy_slices()
    space = slices.network.space
    budget = TimeBudget(60, reserve=0.0)
    race = Race(slices, CurveScorer(slices, {}), space, budget, steps=1, prior=PRIOR, least_steps=1)

    def spend(engine):
        budget.spent_before += 3.0 if slices.network.architecture == space.base else 9.0

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, spend)
    race.decide(listed(space))
    base, other = race.contenders
    assert other.curve.times == base.curve.times[: len(other.curve.times)]
    steps = dict(race.scorer.calls)
    assert len(other.scores) >= 1
    assert steps[space.base] > 2 * steps[other.architecture] - 4


def test_least_steps_do_not_outlast_the_time_of_a_turn():
    slices = toy_slices()
    space = slices.network.space
    budget = TimeBudget(60, reserve=0.0)
    race = Race(slices, CurveScorer(slices, {}), space, budget, steps=1, prior=PRIOR, least_steps=40)

    def spend(engine):
        budget.spent_before += 300.0

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, spend)
    race.decide(listed(space))
    assert slices.steps == 6  # half an hour of the hour


def test_a_race_that_goes_on_has_its_own_contenders_and_what_it_was_about_to_do():
    space = toy_slices().network.space
    first = make_race(steps=150)
    saved = []
    first.decide(listed(space), between=lambda: saved.append(copy.deepcopy(first.state_dict())))
    second = make_race(steps=150)
    second.load_state_dict(saved[0])
    assert second.next is second.contenders[saved[0]["next"]]
    second.decide({space.largest: "another"})
    assert [c.architecture for c in second.contenders] == list(listed(space))
    again = make_race(steps=150)
    again.load_state_dict(saved[-1])
    again.decide({})
    assert again.scorer.calls == []  # it was over


def test_after_the_race_nothing_is_averaged_and_no_weights_but_the_leaders_are_kept():
    race = make_race(steps=150)
    race.decide(listed(race.space))
    assert race.training.average.state_dict() == {}
    assert [c.state for c in race.contenders] == [None, None]


def test_states_of_those_who_wait_are_on_the_cpu_and_are_copies():
    slices = toy_slices()
    race = make_race(slices, steps=150)
    kept = []

    def note():
        for contender in race.contenders:
            if contender.state is not None:
                weights = contender.state["training"]["network"]
                kept.append(all(w.device.type == "cpu" for w in weights.values()))
                shared = slices.network.state_dict()
                kept.append(all(weights[k].data_ptr() != shared[k].data_ptr() for k in weights))

    race.decide(listed(race.space), between=note)
    assert kept
    assert all(kept)


def test_a_race_that_goes_on_scores_the_cases_that_it_had_chosen():
    race = make_race()
    race.scorer.sampler.indices = [0, 2]
    space = race.slices.network.space
    race.decide(listed(space))
    other = make_race()
    other.load_state_dict(race.state_dict())
    assert other.scorer.sampler.indices == [0, 2]


def test_networks_of_other_widths_have_the_same_order_of_cases():
    slices = toy_slices(toy_space(widths=(1.0, 0.5)))
    base = slices.network.space.base
    race = make_race(slices, seed=3)
    states = {}
    slices.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda: states.setdefault(slices.network.architecture, torch.get_rng_state())
    )
    race.decide({base: "base network", base.replace(width=0.5): "narrower"})
    first, second = states.values()
    assert torch.equal(first, second)

# SPDX-License-Identifier: Apache-2.0
import copy
import io
import math

import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import Phase, SliceTrainer
from monai_ronas.space import Decision
from monai_ronas.utils import TimeBudget
from tests.engines.scripted import ScriptedBudget
from tests.toys import toy_slices, toy_space


def steps_phase(slices, steps):
    return Phase("steps", slices, TimeBudget(None), steps=steps, until=1.0)


def test_architecture_is_chosen_before_every_step():
    slices = toy_slices(slice_steps=3)
    space = slices.network.space
    order = [space.largest, *[space.base] * 5]
    seen = []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(slices.network.architecture))
    remaining = iter(order)
    slices.run(lambda: next(remaining), phase=steps_phase(slices, 6))
    assert seen == order
    assert slices.steps == 6
    assert slices.trainer.state.epoch == 2


def test_what_trains_reads_an_extra_decision_of_the_architecture():
    """A loss whose weight is searched: twice the weight is twice the loss of the same weights on the same crops."""
    space = toy_space(extra=[Decision("loss_weight", [1.0, 2.0], kind="training")])
    losses = {}
    for weight in (1.0, 2.0):
        slices = toy_slices(space, slice_steps=1)
        loss, network = slices.trainer.loss_function, slices.network
        slices.trainer.loss_function = lambda *batch, w=network, f=loss: w.architecture["loss_weight"] * f(*batch)
        slices.run(lambda w=weight: space.base.replace(loss_weight=w))
        losses[weight] = slices.trainer.state.output["loss"].item()
    assert losses[2.0] == pytest.approx(2 * losses[1.0])


def test_learning_rate_rises_then_falls_over_a_decaying_phase():
    slices = toy_slices(slice_steps=4, learning_rate=0.02)
    base = slices.network.space.base
    rates = []
    slices.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: rates.append(slices.trainer.optimizer.param_groups[0]["lr"])
    )
    slices.run(lambda: base)
    phase = Phase("end", slices, TimeBudget(None), steps=4, until=1.0)
    slices.run(lambda: base, phase=phase, decay=True)
    cosine = [0.01 * (1 + math.cos(math.pi * n / 4)) for n in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.005, 0.01, 0.015, 0.02, *cosine])


def test_with_the_time_the_last_training_ends_within_a_slice():
    """Steps of 10 s: the phase of 180 s has ended after 18 of them, and the slices after it are whole."""
    budget = ScriptedBudget(10, reserve=0.0)
    slices = toy_slices(slice_steps=7)
    base = slices.network.space.base

    def spend(engine):
        budget.now += 10.0

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, spend)
    epochs = []
    slices.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: epochs.append(e.state.iteration))
    slices.run(lambda: base, phase=Phase("end", slices, budget, steps=1, until=0.3), decay=True)
    assert epochs == [7, 14, 18]
    slices.run(lambda: base)
    slices.run(lambda: base, phase=Phase("others", slices, budget, steps=1, until=0.5))
    assert epochs == [7, 14, 18, 25, 32]
    assert slices.steps == 32


def test_groups_keep_the_learning_rates_of_their_optimizer():
    slices = toy_slices(slice_steps=4, learning_rate=0.02)
    optimizer = slices.trainer.optimizer
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.005})
    slices = SliceTrainer(slices.trainer, slices.network, ramp_steps=4)
    slices.run(lambda: slices.network.space.base)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.003, 0.005])


def test_training_lowers_the_loss():
    slices = toy_slices(slice_steps=10)
    base = slices.network.space.base
    losses = []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item()))
    slices.run(lambda: base, phase=steps_phase(slices, 60))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_state_brings_the_training_back():
    slices = toy_slices()
    base = slices.network.space.base
    slices.run(lambda: base)
    slices.trainer.state.restored = 2
    state = copy.deepcopy(slices.state_dict())
    torch.manual_seed(1)
    slices.run(lambda: base, phase=steps_phase(slices, 4))
    expected = {k: v.clone() for k, v in slices.network.state_dict().items()}
    other = toy_slices(seed=5)
    other.load_state_dict(state)
    torch.manual_seed(1)
    other.run(lambda: base, phase=steps_phase(other, 4))
    assert (other.steps, other.trainer.state.restored) == (slices.steps, 2)
    for name, value in other.network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_to_start_anew_is_to_have_neither_steps_nor_moments_and_the_given_weights_and_crops():
    slices = toy_slices(learning_rate=0.02)
    base = slices.network.space.base
    shared = copy.deepcopy(slices.network.state_dict())
    slices.run(lambda: slices.network.space.largest)
    for group in slices.trainer.optimizer.param_groups:
        group["initial_lr"] *= 0.5  # as where the loss was not finite
    slices.trainer.state.skipped_in_a_row, slices.trainer.state.restored = 4, 2
    slices.trainer.prepare_batch.generator.manual_seed(9)
    now = copy.deepcopy(slices.network.state_dict())
    given = {k: torch.full_like(v, 0.5) for k, v in slices.network.derive(base).state_dict().items()}
    slices.start_anew(given, seed=3)
    assert slices.steps == 0
    assert (slices.trainer.state.skipped_in_a_row, slices.trainer.state.restored) == (0, 0)
    assert not slices.trainer.optimizer.state
    assert [g["initial_lr"] for g in slices.trainer.optimizer.param_groups] == pytest.approx([0.02, 0.003])
    generator = slices.trainer.prepare_batch.generator
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())
    assert 0 < len(given) < len(shared)
    for name, value in slices.network.state_dict().items():
        assert torch.equal(value, given.get(name, now[name])), name
    slices.run(lambda: base)
    assert slices.steps == 2
    slices.start_anew(given, seed=3)
    assert not slices.trainer.optimizer.state  # what it starts with has not been trained


def test_the_scale_of_losses_is_kept_and_starts_anew_with_a_training():
    slices, resumed, plain = toy_slices(amp=True), toy_slices(amp=True), toy_slices()
    slices.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    base = slices.network.space.base
    slices.run(lambda: base, phase=steps_phase(slices, 4))  # two slices
    assert slices.scaler.get_scale() == 16.0
    file = io.BytesIO()
    torch.save(slices.state_dict(), file)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert resumed.scaler.get_scale() == 16.0
    resumed.start_anew(slices.network.derive(base).state_dict(), seed=0)
    assert resumed.scaler.get_scale() == 2.0**16
    plain.load_state_dict(slices.state_dict())  # on a card of another precision
    slices.load_state_dict(plain.state_dict())
    assert slices.scaler.get_scale() == 16.0
    assert plain.state_dict()["scaler"] == {}


def test_a_run_that_breaks_off_does_not_end_the_next_one():
    slices = toy_slices(slice_steps=3)
    base = slices.network.space.base

    def fail(engine):
        if engine.state.iteration == 2:
            raise ValueError("no more")

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    with pytest.raises(ValueError, match="no more"):
        slices.run(lambda: base, phase=steps_phase(slices, 6))
    assert slices.phase is None
    slices.start_anew(slices.network.derive(base).state_dict(), seed=0)
    slices.trainer.remove_event_handler(fail, Events.ITERATION_COMPLETED)
    slices.run(lambda: base)
    assert slices.steps == 3


def test_phase_counts_steps_without_a_budget():
    slices = toy_slices(slice_steps=2)
    base = slices.network.space.base
    phase = steps_phase(slices, 8)
    assert phase.cosine() == 1.0
    slices.run(lambda: base, phase=steps_phase(slices, 4))
    assert phase.progress == 0.5
    assert phase.cosine() == pytest.approx(0.5)
    slices.run(lambda: base, phase=phase)
    assert slices.steps == 8
    assert phase.cosine() == pytest.approx(0.0)
    assert slices.phase is None


def test_phase_follows_the_clock_under_a_budget():
    budget = TimeBudget(60, reserve=0.0)
    phase = Phase("half", toy_slices(), budget, steps=1, until=0.5)
    assert 0.0 <= phase.progress < 0.1
    budget.spent_before += 1800.0
    assert phase.progress == 1.0
    assert phase.done()

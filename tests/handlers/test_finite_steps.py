# SPDX-License-Identifier: Apache-2.0
"""Losses and gradients that are not finite, injected."""

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents

from monai_ronas.handlers import FiniteSteps
from monai_ronas.networks import inferer
from monai_ronas.utils import TrainingError
from tests.toys import toy_slices


def spoilt(slices, steps, what):
    """Make the loss or a gradient of the given steps NaN."""

    def spoil_loss(engine):
        if engine.state.iteration in steps:
            engine.state.output["loss"] = engine.state.output["loss"] * float("nan")

    def spoil_gradient(engine):
        if engine.state.iteration in steps:
            slices.network.heads[0].weight.grad[0] = float("inf")

    event = IterationEvents.LOSS_COMPLETED if what == "loss" else IterationEvents.BACKWARD_COMPLETED
    slices.trainer.add_event_handler(event, spoil_loss if what == "loss" else spoil_gradient)


def weights(slices):
    return {name: weight.detach().clone() for name, weight in slices.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], weight) for name, weight in other.items())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_is_left_out_and_counted(what):
    slices = toy_slices(slice_steps=3)
    spoilt(slices, {2}, what)
    FiniteSteps().attach(slices.trainer)
    seen = []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(weights(slices)))
    slices.run(lambda: slices.network.space.base)
    assert same(seen[0], seen[1])
    assert not same(seen[1], seen[2])
    assert slices.trainer.state.skipped_steps == 1
    assert slices.trainer.optimizer.state[slices.network.heads[0].weight]["step"] == 2


def test_finite_steps_are_those_without_the_handler():
    ends = []
    for watched in (False, True):
        slices = toy_slices(slice_steps=4)
        if watched:
            FiniteSteps().attach(slices.trainer)
        slices.run(lambda s=slices: s.network.space.base)
        ends.append(weights(slices))
    assert same(*ends)


def test_where_they_do_not_cease_older_weights_come_back_with_half_the_rate_and_in_the_end_a_sentence():
    slices = toy_slices(slice_steps=30)
    spoilt(slices, set(range(5, 31)), "loss")
    FiniteSteps(patience=3, restores=2).attach(slices.trainer)
    start, seen = weights(slices), []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(weights(slices)))
    with pytest.raises(TrainingError, match="3 steps in a row, 3 times: give a smaller learning_rate"):
        slices.run(lambda: slices.network.space.base)
    assert same(seen[5], seen[3])  # four finite steps, then three left out
    assert same(seen[6], start)
    assert not same(seen[5], start)
    assert slices.trainer.optimizer.param_groups[0]["initial_lr"] == pytest.approx(1e-2 / 4)
    assert slices.trainer.state.skipped_steps == 9


@pytest.mark.parametrize("slice_steps", [1, 2, 3])
def test_in_short_slices_weights_come_back_that_are_older_than_the_last_steps(slice_steps):
    """The last finite step spoils the weights, and ends a slice or not."""
    slices = toy_slices(slice_steps=slice_steps)
    spoilt(slices, set(range(13, 40)), "loss")
    FiniteSteps(patience=3, restores=1).attach(slices.trainer)
    seen = [weights(slices)]
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(weights(slices)))
    while slices.trainer.state.restored == 0:
        slices.run(lambda: slices.network.space.base)
    back = [step for step in range(13) if same(seen[15], seen[step])]
    assert len(back) == 1
    assert 3 <= 12 - back[0] <= 3 + 3 + 2 * slice_steps


def test_weights_are_copied_again_after_some_have_come_back():
    slices = toy_slices(slice_steps=2)
    bad = {*range(21, 24), *range(34, 37)}
    spoilt(slices, bad, "loss")
    FiniteSteps(patience=3, restores=2).attach(slices.trainer)
    seen = [weights(slices)]
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(weights(slices)))
    while slices.trainer.state.restored < 2:
        slices.run(lambda: slices.network.space.base)
    assert [step for step in range(20) if same(seen[23], seen[step])] == [16]
    assert [step for step in range(24, 34) if same(seen[36], seen[step])] == [26]


def test_what_comes_back_is_not_from_before_other_weights_were_loaded():
    slices = toy_slices(slice_steps=4)
    FiniteSteps(patience=2).attach(slices.trainer)
    start = copy.deepcopy(slices.state_dict())
    slices.run(lambda: slices.network.space.base)
    slices.load_state_dict(start)
    spoilt(slices, {1, 2, 3, 4}, "loss")
    slices.run(lambda: slices.network.space.base)
    assert same(weights(slices), start["network"])
    assert slices.trainer.state.skipped_steps == 4


def scaled(slice_steps, scale=2.0**16, learning_rate=1e-2):
    """Slices whose losses are scaled, as for a card without bfloat16; really, on a CPU."""
    slices = toy_slices(slice_steps=slice_steps, learning_rate=learning_rate, amp=True)
    slices.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return slices


def test_a_scaled_loss_moves_the_weights_as_one_that_is_not():
    ends = []
    for is_scaled in (False, True):
        slices = scaled(4) if is_scaled else toy_slices(slice_steps=4)
        FiniteSteps().attach(slices.trainer)
        slices.run(lambda s=slices: s.network.space.base)
        ends.append(weights(slices))
    for name, weight in ends[0].items():
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-4, atol=1e-6)


def test_a_scale_that_is_too_large_is_halved_and_no_reason_to_go_back():
    slices, seen = scaled(8), []
    spoilt(slices, {2, 3, 4, 5, 6}, "gradient")
    FiniteSteps(patience=3).attach(slices.trainer)
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(weights(slices)))
    slices.run(lambda: slices.network.space.base)
    assert slices.scaler.get_scale() == 2.0**16 / 2**5
    assert slices.trainer.state.skipped_steps == 5
    assert slices.trainer.state.restored == 0
    assert same(seen[5], seen[0])
    assert not same(seen[6], seen[5])
    assert not same(seen[7], seen[6])


def test_below_a_scale_of_one_and_for_a_loss_that_is_no_number_the_weights_come_back():
    for what, scale in (("gradient", 0.5), ("loss", 2.0**16)):
        slices = scaled(6, scale)
        spoilt(slices, {2, 3, 4}, what)
        FiniteSteps(patience=3).attach(slices.trainer)
        start = weights(slices)
        slices.run(lambda s=slices: s.network.space.base)
        assert slices.trainer.state.restored == 1
        assert not same(weights(slices), start)


def test_float16_trains_with_the_scale(monkeypatch):
    """The network in float16, as on a card without bfloat16, slowly on a CPU."""
    monkeypatch.setattr(inferer, "half_type", lambda device: torch.float16)
    slices = scaled(6, learning_rate=0.02)
    slices.trainer.inferer = inferer.PadToStrideInferer(amp=True)
    FiniteSteps().attach(slices.trainer)
    kinds, losses = set(), []
    slices.network.heads[0].register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item()))
    slices.run(lambda: slices.network.space.base)
    assert kinds == {torch.float16}
    assert slices.trainer.state.skipped_steps == 0
    assert losses[-1] < losses[0]


def test_a_loss_of_another_precision_or_with_an_axis_is_looked_at_as_well():
    slices = toy_slices(slice_steps=2)
    trainer = slices.trainer
    loss = trainer.loss_function
    trainer.loss_function = lambda *args: loss(*args).double().reshape(1)
    FiniteSteps().attach(trainer)
    start = weights(slices)
    slices.run(lambda: slices.network.space.base)
    assert trainer.state.skipped_steps == 0
    assert not same(weights(slices), start)

# SPDX-License-Identifier: Apache-2.0
"""Losses and gradients that are not finite, injected."""

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents

from monai_ronas.handlers import FiniteSteps
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

# SPDX-License-Identifier: Apache-2.0
"""A lack of memory, feigned on a CPU."""

import math

import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import GuardedStep
from monai_ronas.handlers import FiniteSteps
from monai_ronas.utils import TrainingError
from tests.toys import toy_slices


def guarded(most_crops, slice_steps=3, **kwargs):
    """Slices whose network has memory for so many crops of an architecture, by its id; other architectures all."""
    slices = toy_slices(slice_steps=slice_steps, iteration_update=GuardedStep(), **kwargs)
    network = slices.network

    def check(module, inputs):
        if len(inputs[0]) > most_crops.get(module.architecture.id, math.inf):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate much")

    network.register_forward_pre_hook(check)
    seen = []
    network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(inputs[0])))
    return slices, seen


def weights(slices):
    return {k: v.clone() for k, v in slices.network.state_dict().items()}


def test_a_step_is_made_with_as_many_crops_as_fit():
    base = toy_slices().network.space.base
    slices, seen = guarded({base.id: 1})
    before = weights(slices)
    slices.run(lambda: base)
    assert seen == [1, 1, 1]
    assert slices.trainer.prepare_batch.crops(base) == 1
    assert slices.steps == 3
    assert any(not torch.equal(before[k], v) for k, v in weights(slices).items())
    assert not slices.trainer.state.out_of_memory


def test_what_does_not_fit_at_all_moves_no_weight_and_is_not_sampled_again():
    space = toy_slices().network.space
    largest = space.largest
    assert largest != space.base
    slices, seen = guarded({largest.id: 0})
    batches = slices.trainer.prepare_batch
    limited = batches.resources.limited_space()
    assert limited.is_feasible(largest)
    losses = []
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item()))
    before = weights(slices)
    slices.run(lambda: largest)
    assert all(math.isnan(loss) for loss in losses)
    assert all(torch.equal(before[k], v) for k, v in weights(slices).items())
    assert slices.trainer.state.out_of_memory
    assert not limited.is_feasible(largest)
    assert limited.is_feasible(limited.base)
    slices.run(lambda: space.base)
    assert not slices.trainer.state.out_of_memory
    assert len(seen) == 3


def test_a_base_network_that_does_not_fit_goes_on_with_a_smaller_patch():
    first = toy_slices().network.space.base
    slices, seen = guarded({first.id: 0})
    limited = slices.trainer.prepare_batch.resources.limited_space()
    trained = []
    slices.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: trained.append(slices.network.space.patch(slices.network.architecture))
    )
    slices.run(lambda: limited.base)
    assert trained[0] == limited.patch(first)
    assert trained[1] == trained[2] == limited.patch(limited.base) < trained[0]
    assert len(seen) == 2
    assert {k: v for k, v in limited.base.items() if "patch" not in k} == {
        k: v for k, v in first.items() if "patch" not in k
    }


def test_a_base_network_that_does_not_fit_with_any_patch_is_said():
    slices, _ = guarded({}, slice_steps=100)

    def fail(module, inputs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    slices.network.register_forward_pre_hook(fail)
    limited = slices.trainer.prepare_batch.resources.limited_space()
    with pytest.raises(TrainingError, match=r"the base network does not fit .* of any patch"):
        slices.run(lambda: limited.base)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    slices, _ = guarded({})

    def fail(module, inputs):
        raise RuntimeError("shapes do not match")

    slices.network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        slices.run(lambda: slices.network.space.base)


def test_after_a_scaled_step_that_breaks_off_anywhere_the_next_is_in_order(monkeypatch):
    """After the gradients are unscaled, in the update, and before that."""
    slices, seen = guarded({}, slice_steps=4, amp=True)
    slices.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer = slices.trainer
    FiniteSteps().attach(trainer)
    update, calls = trainer.optimizer.step, []

    def step(*args):
        calls.append(trainer.state.iteration)
        if len(calls) == 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return update(*args)

    def backward(grad):
        if trainer.state.iteration == 3 and len(seen) == 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trainer.optimizer, "step", step)
    slices.network.heads[0].bias.register_hook(backward)
    before = weights(slices)
    slices.run(lambda: slices.network.space.base)
    assert calls == [1, 2, 2, 4]  # the third has no smaller batch
    assert seen == [2, 2, 1, 1, 1]
    assert slices.scaler.get_scale() == 8.0
    assert any(not torch.equal(before[k], v) for k, v in weights(slices).items())

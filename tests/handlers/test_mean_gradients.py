# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents
from monai.losses import DiceCELoss

from monai_ronas.engines import GuardedStep
from monai_ronas.engines.averaged_weights import AveragedWeights
from monai_ronas.handlers import FiniteSteps, MeanGradients
from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.utils.ranks import own_rank
from tests.ranks import in_ranks
from tests.toys import toy_slices


def shared_slices(**kwargs):
    slices = toy_slices(**kwargs)
    slices.trainer.state.skipped_steps = 0
    MeanGradients().attach(slices.trainer)
    FiniteSteps().attach(slices.trainer)
    return slices


def gradients(network):
    return {name: None if w.grad is None else w.grad.clone() for name, w in network.named_parameters()}


@pytest.mark.parametrize("batch", [False, True])
def test_the_gradient_is_that_of_a_single_process_with_the_joined_batch(tmp_path, batch):
    loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=batch))

    def step():
        slices = shared_slices(slice_steps=1)
        trainer, network = slices.trainer, slices.network
        trainer.loss_function = loss
        found = {"weights": {name: w.clone() for name, w in network.state_dict().items()}}

        def note(engine):
            crops = {key: engine.state.output[key].clone() for key in ("image", "label")}
            found.update(crops, gradients=gradients(network))

        trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, note)
        slices.run(lambda: network.space.base)
        return found

    ranks = in_ranks(step, tmp_path)
    assert not torch.equal(ranks[0]["image"], ranks[1]["image"])  # each has crops of its own
    network = toy_slices().network
    network.load_state_dict(ranks[0]["weights"])
    network.select(network.space.base)
    if batch:  # a Dice over a batch is one over a rank's
        joined = sum(loss(network(found["image"]), found["label"]) for found in ranks) / 2
    else:
        image, label = (torch.cat([found[key] for found in ranks]) for key in ("image", "label"))
        joined = loss(network(image), label)
    joined.backward()
    expected = gradients(network)
    assert any(gradient is None for gradient in expected.values())  # of dilations that the base network has not
    for found in ranks:
        for name, gradient in expected.items():
            own = found["gradients"][name]
            assert (own is None) == (gradient is None), name
            if gradient is not None:
                torch.testing.assert_close(own, gradient, rtol=1e-5, atol=1e-5)


def test_weights_and_their_average_stay_the_same_on_all(tmp_path):
    def train():
        slices = shared_slices(seed=own_rank())  # other weights and other random states
        average = AveragedWeights(slices.network)
        average.start()
        slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, average.update)
        space = slices.network.space
        turns = itertools.cycle([space.base, space.largest])
        for _ in range(2):
            slices.run(lambda: next(turns))
        return slices.network.state_dict(), average.state_dict(), slices.trainer.optimizer.state_dict()["state"]

    first, second = in_ranks(train, tmp_path)
    for one, other in zip(first[:2], second[:2], strict=True):
        assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert first[2].keys() == second[2].keys()
    for name, moments in first[2].items():
        assert all(torch.equal(moment, second[2][name][key]) for key, moment in moments.items())


def test_a_step_that_is_not_finite_on_one_is_left_out_by_all(tmp_path):
    def train():
        slices = shared_slices(slice_steps=1)
        make = slices.trainer.prepare_batch

        def spoilt(*args, **kwargs):
            image, label = make(*args, **kwargs)
            return image * (float("nan") if own_rank() == 1 else 1.0), label

        slices.trainer.prepare_batch = spoilt
        before = {name: weight.clone() for name, weight in slices.network.state_dict().items()}
        slices.run(lambda: slices.network.space.base)
        after = slices.network.state_dict()
        return slices.trainer.state.skipped_steps, all(torch.equal(after[name], w) for name, w in before.items())

    assert in_ranks(train, tmp_path) == [(1, True), (1, True)]


def test_a_lack_of_memory_on_one_makes_the_batch_of_all_smaller(tmp_path):
    def train():
        slices = shared_slices(slice_steps=2, iteration_update=GuardedStep())
        batches, base = slices.trainer.prepare_batch, slices.network.space.base
        network_forward, calls = slices.network.forward, []

        def forward(image):
            calls.append(len(image))
            if own_rank() == 1 and len(image) > 1:
                raise MemoryError
            return network_forward(image)

        slices.network.forward = forward
        slices.run(lambda: base)
        return calls, batches.crops(base), slices.steps, {n: w.clone() for n, w in slices.network.state_dict().items()}

    first, second = in_ranks(train, tmp_path)
    assert first[:3] == second[:3] == ([2, 1, 1], 1, 2)
    assert all(torch.equal(weight, second[3][name]) for name, weight in first[3].items())

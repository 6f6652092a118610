# SPDX-License-Identifier: Apache-2.0
from itertools import islice

import pytest
import torch
from ignite.engine import Engine

from monai_ronas.handlers import WarmUp
from monai_ronas.utils import TimeBudget
from tests.toys import toy_slices


def test_the_largest_comes_first_then_the_base_has_its_share():
    slices = toy_slices()
    space = slices.network.space
    warm_up = WarmUp(slices, space, TimeBudget(None), steps=4, base_share=0.5)
    order = list(islice(warm_up.order(), 401))
    assert order[:2] == [space.largest, space.base]
    assert next(warm_up.order(done=1)) == space.base
    assert 150 < order.count(space.base) < 260
    assert len(set(order)) > 20
    assert list(islice(WarmUp(slices, space, TimeBudget(None), steps=4).order(), 50)) == list(
        islice(WarmUp(slices, space, TimeBudget(None), steps=4).order(), 50)
    )


@pytest.mark.parametrize(("share", "rate"), [(1, 0.01), (0.5, 0.0025)])
def test_a_warm_up_of_the_base_network_alone_keeps_its_weights(share, rate):
    slices = toy_slices(learning_rate=0.01)
    slices.shared_lr_factor, slices.ramp_steps = 0.25, 0
    engine = Engine(lambda e, b: None)
    WarmUp(slices, slices.network.space, TimeBudget(None), steps=6, base_share=share).attach(engine)
    engine.run(range(1), max_epochs=1, epoch_length=1)
    assert slices.trainer.optimizer.param_groups[0]["lr"] == rate
    assert (slices.base_start is not None) == (share == 1)
    if slices.base_start is not None:
        assert slices.base_start["steps"] == 6
        for name, value in slices.network.derive(slices.network.space.base).state_dict().items():
            assert torch.equal(slices.base_start["weights"][name], value)


@pytest.mark.parametrize("share", [-0.1, 1.5, None, "half"])
def test_what_is_no_share_is_refused(share):
    slices = toy_slices()
    with pytest.raises(ValueError, match="base_share must be a number from 0 to 1, got"):
        WarmUp(slices, slices.network.space, TimeBudget(None), steps=6, base_share=share)


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

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.optimizers import Novograd

from monai_ronas.engines import LocalSlices, SliceTrainer
from monai_ronas.handlers import FiniteSteps
from monai_ronas.utils import TrainingError
from tests.toys import toy_slices, toy_space


def weights(slices):
    return {name: weight.clone() for name, weight in slices.network.state_dict().items()}


def kept(slices):
    """What the optimiser remembers, by weight and name."""
    state = slices.trainer.optimizer.state_dict()["state"]
    return {(index, name): value.clone() for index, found in state.items() for name, value in found.items()}


def of_both(architectures, *, before=1):
    """Start, what a slice of each architecture alone leads to, and the joined end: weights and moments of each."""
    slices = toy_slices(toy_space(widths=(1.0, 0.5)))
    space = slices.network.space
    chosen = [type(space.base)({**space.base.to_dict(), **values}) for values in architectures]
    for _ in range(before):
        slices.run(lambda: space.base)
    local = LocalSlices(slices)
    local.begin()
    start = weights(slices), kept(slices)
    ends = []
    for number, architecture in enumerate(chosen):
        local.enter(number)
        slices.run(lambda architecture=architecture: architecture)
        local.leave()
        ends.append((weights(slices), kept(slices)))
    local.join()
    return start, ends, (weights(slices), kept(slices))


def expected(start, ends):
    """The mean of the moves that are not zero, element by element."""
    moves = torch.stack([end - start for end in ends])
    return start + moves.sum(dim=0) / (moves != 0).sum(dim=0).clamp(min=1)


def test_weights_move_by_the_mean_over_the_slices_that_moved_them():
    start, ends, joined = of_both([{}, {"width": 0.5}])
    for name, first in start[0].items():
        torch.testing.assert_close(joined[0][name], expected(first, [end[0][name] for end in ends]))
    moved = [{name for name in start[0] if not torch.equal(end[0][name], start[0][name])} for end in ends]
    assert moved[0] == moved[1] < start[0].keys()  # skips that neither has stay what they were
    name = next(n for n in start[0] if n.endswith("weight") and start[0][n].dim() == 5 and len(start[0][n]) == 4)
    half, all_of_it = ends[1][0][name], joined[0][name]
    assert torch.equal(half[-1], start[0][name][-1])  # no part of the narrow network
    torch.testing.assert_close(all_of_it[-1], ends[0][0][name][-1])


def test_moments_are_joined_and_those_that_one_slice_alone_has_are_kept():
    start, ends, joined = of_both([{"skip_2_1": True}, {"skip_1_1": False}], before=0)
    assert start[1] == {}
    assert ends[0][1].keys() != ends[1][1].keys()
    assert joined[1].keys() == ends[0][1].keys() | ends[1][1].keys()
    for name, value in joined[1].items():
        given = [end[1][name] for end in ends if name in end[1]]
        torch.testing.assert_close(value, expected(torch.zeros_like(value), given))


def test_slices_have_crops_of_their_own_and_the_random_states_go_on_from_the_start():
    slices = toy_slices()
    base, generator = slices.network.space.base, slices.trainer.prepare_batch.generator
    local = LocalSlices(slices)
    seeds = []
    for _ in range(2):
        local.begin()
        random, crops = torch.get_rng_state(), generator.get_state()
        steps, ends = slices.steps, []
        for number in (0, 1, 0):
            local.enter(number)
            slices.run(lambda: base)
            local.leave()
            ends.append(weights(slices))
        assert all(torch.equal(weight, ends[2][name]) for name, weight in ends[0].items())
        assert not all(torch.equal(weight, ends[1][name]) for name, weight in ends[0].items())
        local.join()
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(generator.get_state(), crops)
        assert slices.steps == steps + slices.slice_steps
        seeds.append(crops)
    assert not torch.equal(*seeds)  # the next round has others


def test_a_round_in_which_nothing_was_moved_changes_nothing():
    slices = toy_slices()
    slices.run(lambda: slices.network.space.base)
    local = LocalSlices(slices)
    local.begin()
    before = weights(slices), kept(slices), slices.steps
    local.enter(0)
    local.leave()
    local.join()
    after = weights(slices), kept(slices), slices.steps
    assert after[2] == before[2]
    for one, other in zip(before[:2], after[:2], strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("limits", [(None, 0.5), (0.75, 0.5)])
def test_a_limit_of_memory_that_a_slice_has_learnt_stays(limits):
    slices = toy_slices()
    batches = slices.trainer.prepare_batch
    batches.resources.memory_gb = limits[0]
    local = LocalSlices(slices)
    local.begin()
    local.enter(0)
    batches.lower_limit(limits[1])
    local.leave()
    local.enter(1)
    local.leave()
    local.join()
    assert batches.resources.memory_gb == limits[1]


def test_steps_that_are_not_finite_count_on_over_rounds_until_the_weights_come_back():
    """Slices of two steps, and a patience of three: the second round goes back, the fourth gives up."""
    slices = toy_slices()
    FiniteSteps(patience=3, restores=1).attach(slices.trainer)
    base = slices.network.space.base
    slices.run(lambda: base)
    rate = slices.trainer.optimizer.param_groups[0]["initial_lr"]
    make = slices.trainer.prepare_batch
    slices.trainer.prepare_batch = lambda *args, **kwargs: spoilt(*make(*args, **kwargs))
    local = LocalSlices(slices)
    rows = []

    def round_of_two():
        local.begin()
        for number in range(2):
            local.enter(number)
            slices.run(lambda: base)
            local.leave()
        local.join()
        rows.append((slices.trainer.state.skipped_in_a_row, slices.trainer.state.restored))

    round_of_two()
    round_of_two()
    assert rows == [(2, 0), (1, 1)]
    assert slices.trainer.optimizer.param_groups[0]["initial_lr"] == rate / 2
    with pytest.raises(TrainingError, match="the loss has not been finite for 3 steps in a row"):
        round_of_two()


def spoilt(image, label):
    return image * float("nan"), label


def test_a_slice_that_ends_with_weights_that_are_not_finite_counts_for_nothing():
    slices = toy_slices()
    base = slices.network.space.base
    local = LocalSlices(slices)
    local.begin()
    for number in range(2):
        local.enter(number)
        slices.run(lambda: base)
        if number == 0:
            good = weights(slices)
        else:
            next(slices.network.parameters()).data.fill_(float("inf"))
        local.leave()
    local.join()
    for name, weight in weights(slices).items():
        torch.testing.assert_close(weight, good[name])


def test_what_the_optimiser_counts_is_kept():
    """MONAI's Novograd has the number of steps as a plain number."""
    slices = toy_slices()
    slices.trainer.optimizer = Novograd(slices.network.parameters(), lr=1e-3)
    base = slices.network.space.base
    local = LocalSlices(SliceTrainer(slices.trainer, slices.network))
    for expected in (2, 4):
        local.begin()
        for number in range(2):
            local.enter(number)
            local.slices.run(lambda: base)
            local.leave()
        local.join()
        counts = {of_weight["step"] for of_weight in slices.trainer.optimizer.state_dict()["state"].values()}
        assert counts == {expected}


def test_of_the_scales_of_a_loss_the_least_one_goes_on():
    slices = toy_slices()
    slices.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    local = LocalSlices(slices)
    local.begin()
    for number, scale in enumerate((512.0, 256.0, 1024.0)):
        local.enter(number)
        slices.scaler.load_state_dict({**slices.scaler.state_dict(), "scale": scale})
        local.leave()
    local.join()
    assert slices.scaler.get_scale() == 256.0

# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import Phase, Snapshots
from monai_ronas.errors import SettingError
from monai_ronas.utils import TemperatureFit, TimeBudget
from tests.engines.scripted import Scorer, make_end
from tests.toys import toy_slices


def train(slices, phase, snapshots, begun=None):
    """A stretch of training; the weights after each step, in half precision."""
    base = slices.network.space.base
    weights = {}

    def note():
        network = slices.network.derive(base, deep_supervision=False)
        weights[slices.steps] = {name: weight.half() for name, weight in network.state_dict().items()}

    with slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, note):
        snapshots.follow(phase, begun)
        slices.run(lambda: base, phase=phase, decay=True)
        snapshots.stop()
    return weights


def same(member, weights):
    return member.keys() == weights.keys() and all(torch.equal(member[name], weights[name]) for name in weights)


def test_weights_are_kept_at_shares_of_the_training_which_goes_on_as_without_them():
    slices, plain = toy_slices(), toy_slices()
    snapshots = Snapshots(slices, shares=(0.25, 0.5, 0.8))
    weights = train(slices, Phase("x", slices, TimeBudget(None), steps=10, until=1.0), snapshots)
    assert len(snapshots.members) == 3
    assert all(same(member, weights[step]) for member, step in zip(snapshots.members, (3, 5, 8), strict=True))
    assert {weight.dtype for member in snapshots.members for weight in member.values()} == {torch.float16}
    base = plain.network.space.base
    plain.run(lambda: base, phase=Phase("x", plain, TimeBudget(None), steps=10, until=1.0), decay=True)
    ends = plain.network.state_dict(), slices.network.state_dict()
    assert all(torch.equal(ends[0][name], weight) for name, weight in ends[1].items())


def test_nothing_is_kept_of_other_training():
    slices = toy_slices()
    snapshots = Snapshots(slices)
    slices.run(lambda: slices.network.space.base)
    train(slices, Phase("x", slices, TimeBudget(None), steps=4, until=1.0), snapshots)
    kept = snapshots.members
    slices.run(lambda: slices.network.space.base)
    assert snapshots.members == kept


def test_a_step_that_passes_several_shares_has_one_member():
    slices = toy_slices()
    snapshots = Snapshots(slices, shares=(0.6, 0.7, 0.8))
    weights = train(slices, Phase("x", slices, TimeBudget(None), steps=2, until=1.0), snapshots)
    (member,) = snapshots.members
    assert same(member, weights[2])


def test_a_training_that_becomes_longer_takes_those_anew_whose_share_has_not_come():
    slices = toy_slices()
    snapshots = Snapshots(slices, shares=(0.25, 0.5, 0.8))
    phase = Phase("x", slices, TimeBudget(None), steps=10, until=1.0)
    first = train(slices, phase, snapshots)
    state, begun = snapshots.state_dict(), phase.state_dict()
    longer = Phase("x", slices, TimeBudget(None), steps=20, until=1.0, begun=begun)
    second = train(slices, longer, snapshots, state)
    oldest, middle, newest = snapshots.members
    assert same(oldest, first[3])
    assert same(middle, first[5])  # half of the longer one has come just now
    assert same(newest, second[16])
    much_longer = Phase("x", slices, TimeBudget(None), steps=100, until=1.0, begun=begun)
    snapshots.follow(much_longer, state)
    assert snapshots.members == ()


@pytest.mark.parametrize("shares", [(0.5, 0.4), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_shares_out_of_place_are_refused(shares):
    with pytest.raises(SettingError, match="shares must rise between 0 and 1, received"):
        Snapshots(toy_slices(), shares=shares)


def test_no_shares_are_no_members():
    slices = toy_slices()
    snapshots = Snapshots(slices, shares=())
    train(slices, Phase("x", slices, TimeBudget(None), steps=4, until=1.0), snapshots)
    assert snapshots.members == ()


FIT = TemperatureFit(1.5, cases=2, error_before=0.1, error_after=0.05)


class Thermometer:
    """In the place of a calibration; notes what it is asked."""

    def __init__(self):
        self.asked = []

    def estimated_seconds(self, seconds, *, members):
        return 10 * seconds * members

    def __call__(self, members, *, windows, seconds, left):
        self.asked.append((len(members), windows, seconds, left))
        return FIT


def test_the_end_of_a_search_has_members_of_the_final_training_and_a_temperature():
    slices = toy_slices()
    thermometer, reserves = Thermometer(), []
    end = make_end(Scorer(seconds=8.0), slices=slices, snapshots=Snapshots(slices), calibration=thermometer)
    slices.trainer.add_event_handler(Events.ITERATION_STARTED, lambda: reserves.append(end.budget.reserve))
    result = end.run()
    assert len(result.members) == 3
    assert result.temperature is FIT
    assert result.reliability is None  # there are no test cases
    assert thermometer.asked == [(3, False, 2.0, float("inf"))]
    assert reserves[-1] - reserves[0] == 8.0 + 10 * 2.0 * 3  # of the reward cases, and of the temperature
    names = slices.network.derive(result.architecture, deep_supervision=False).state_dict().keys()
    assert all(member.keys() == names for member in result.members)

# SPDX-License-Identifier: Apache-2.0
"""The end of a search on a stand-in scorer whose rewards are given."""

from contextlib import nullcontext

from monai_ronas.controllers import LSTMController
from monai_ronas.engines import ControllerTrainer, EpisodeSampler, Exploitation
from monai_ronas.utils import ChildScore, TimeBudget
from tests.toys import toy_slices, toy_space


class Scorer:
    """Rewards by what an architecture has, the same shape for every case; counts the calls."""

    def __init__(self, gain=0.0, spread=0.0, favourite=None):
        self.sampler = EpisodeSampler(4, per_episode=2)
        self.case_names = ("a", "b", "c", "d")
        self.gain, self.spread, self.favourite = gain, spread, favourite
        self.calls = []

    def in_windows(self, overlap):
        return nullcontext()

    def score(self, architecture):
        self.calls.append((architecture, list(self.sampler)))
        shift = self.gain if self.favourite is not None and architecture == self.favourite else 0.0
        noise = [self.spread * s for s in (1, -1, 1, -1)] if shift else [0.0] * 4
        per_case = tuple(0.5 + shift + noise[i] for i in self.sampler)
        return ChildScore(sum(per_case) / len(per_case), per_case, seconds=0.0, peak_memory_mb=1.0)


def other_than_base(space):
    """An architecture of the space that is not the base network."""
    values = space.base.to_dict()
    return type(space.base)({**values, "activation": "ELU"})


def make_end(scorer, *, trial_steps=4, final_steps=6, least_trial_steps=0, slices=None, space=None, **more):
    """An :class:`Exploitation` on toy cases."""
    slices = slices or toy_slices(toy_space())
    space = space or slices.network.space
    policy = LSTMController(space)
    engine = ControllerTrainer("cpu", 1, 2, policy, scorer)
    engine.state.best_child = other_than_base(space)
    return Exploitation(
        engine,
        slices,
        space,
        TimeBudget(None),
        trial_steps=trial_steps,
        final_steps=final_steps,
        least_trial_steps=least_trial_steps,
        random_candidates=1,
        **more,
    )

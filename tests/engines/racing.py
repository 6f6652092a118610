# SPDX-License-Identifier: Apache-2.0
"""Races on toy cases with curves that are given."""

import math
from contextlib import nullcontext

from monai_ronas.engines import EpisodeSampler
from monai_ronas.engines.race import Race
from monai_ronas.utils import ChildScore, TimeBudget
from tests.engines.scripted import PRIOR, other_than_base
from tests.toys import toy_slices


class CurveScorer:
    """Errors that fall with a power of the steps, from a level of each architecture."""

    def __init__(self, slices, levels, otherwise=0.5, slope=0.4):
        self.slices, self.levels, self.otherwise, self.slope = slices, levels, otherwise, slope
        self.calls = []
        self.sampler = EpisodeSampler(4, per_episode=4)

    def in_windows(self, overlap):
        return nullcontext()

    def seconds_of_a_case(self):
        return 1.0

    def choose_some(self, number):
        self.number = number

    def score(self, architecture):
        self.calls.append((architecture, self.slices.steps))
        level = self.levels.get(architecture, self.otherwise)
        if level is None:
            return ChildScore(math.nan, (math.nan,) * 4, seconds=0.0, peak_memory_mb=1.0, status="failed")
        dice = 1 - level * max(self.slices.steps, 1) ** -self.slope
        per_case = tuple(dice + shift for shift in (-0.01, 0.0, 0.0, 0.01))
        return ChildScore(dice, per_case, seconds=0.0, peak_memory_mb=1.0, soft=per_case)


def make_race(slices=None, levels=None, *, steps=1000, prior=PRIOR, **more):
    """A race on toy cases with given curves."""
    slices = slices or toy_slices()
    scorer = CurveScorer(slices, levels or {})
    return Race(slices, scorer, slices.network.space, TimeBudget(None), steps=steps, prior=prior, **more)


def listed(space):
    """The base network and another one."""
    return {space.base: "plan", other_than_base(space): "best candidate"}

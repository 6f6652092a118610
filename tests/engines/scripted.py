# SPDX-License-Identifier: Apache-2.0
"""The end of a search on a stand-in scorer whose rewards are given."""

from contextlib import nullcontext

from monai_ronas.controllers import LSTMController
from monai_ronas.engines import ControllerTrainer, EpisodeSampler, Exploitation, Race
from monai_ronas.engines.forecast import Prior
from monai_ronas.utils import ChildScore, TimeBudget
from tests.toys import toy_slices, toy_space

PRIOR = Prior(slope=0.4, slope_sd=0.1, own_sd=0.05, noise=0.02, lead=0.0, lead_sd=0.3)


class ScriptedBudget(TimeBudget):
    """A time budget whose clock, :attr:`now`, is the test's own."""

    now = 0.0

    def elapsed(self):
        return self.spent_before + self.now


class ScriptedTester:
    """Scores of test cases that take so many seconds each on a budget's clock."""

    def __init__(self, budget, number=8, *, seconds=1.0):
        self.budget, self.seconds, self.scored = budget, seconds, []
        self.cases = self.case_names = tuple(f"test{n}" for n in range(number))

    def estimated_seconds(self, seconds_per_run):
        return seconds_per_run

    def score(self, architecture):
        return self.score_in_time(architecture, lambda: float("inf"))

    def score_in_time(self, architecture, left):
        number = 0
        while number < len(self.case_names) and left() >= self.seconds:
            self.budget.now += self.seconds
            number += 1
        self.cases = self.case_names[::-1][:number]
        self.scored.append(number)
        return ChildScore(0.7, (0.7,) * number, self.seconds * number, peak_memory_mb=1.0)


class Scorer:
    """Dice by what an architecture has, soft Dice that rises with the steps as well; counts the calls."""

    def __init__(self, gain=0.0, favourite=None, seconds=0.0):
        self.sampler = EpisodeSampler(4, per_episode=2)
        self.case_names = ("a", "b", "c", "d")
        self.gain, self.favourite, self.seconds = gain, favourite, seconds
        self.slices = None
        self.calls = []

    @property
    def cases(self):
        return [self.case_names[i] for i in self.sampler]

    def in_windows(self, overlap):
        return nullcontext()

    def choose_some(self, number):
        self.sampler.indices = self.sampler.indices[:number]

    def seconds_of_a_case(self):
        return self.seconds / len(self.sampler)

    def score(self, architecture):
        self.calls.append((architecture, list(self.sampler)))
        dice = 0.5 + (self.gain if architecture == self.favourite else 0.0)
        per_case = tuple(dice + (-0.01, 0.0, 0.0, 0.01)[i] for i in self.sampler)
        steps = 1 if self.slices is None else max(self.slices.steps, 1)
        soft = tuple(1 - (1 - d) * steps**-0.4 for d in per_case)
        return ChildScore(sum(per_case) / len(per_case), per_case, self.seconds, peak_memory_mb=1.0, soft=soft)


def other_than_base(space):
    """An architecture of the space that is not the base network."""
    values = space.base.to_dict()
    return type(space.base)({**values, "activation": "ELU"})


def make_end(scorer, *, final_steps=40, slices=None, space=None, budget=None, objective=None, best_child=True, **more):
    """An :class:`Exploitation` on toy cases, whose race has turns of 4, 8 and more steps."""
    slices = slices or toy_slices(toy_space())
    space = space or slices.network.space
    budget = budget or TimeBudget(None)
    scorer.slices = slices
    engine = ControllerTrainer("cpu", 1, 2, LSTMController(space), scorer, objective=objective)
    engine.state.best_child = other_than_base(space) if best_child else None
    turns = {"prior": PRIOR, "first_turn": 0.1, "least_steps": 1}
    race = Race(slices, scorer, space, budget, steps=final_steps, objective=objective, **turns)
    return Exploitation(engine, race, **more)

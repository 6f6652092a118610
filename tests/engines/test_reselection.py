# SPDX-License-Identifier: Apache-2.0
import math
import random
from types import SimpleNamespace

import pytest

from monai_ronas.engines import Reselection
from monai_ronas.utils import ChildScore, InferenceChoice
from tests.toys import toy_space


class Scorer:
    def __init__(self, dice):
        self.dice, self.scored, self.chosen = dice, [], []
        self.case_names = ("a", "b")
        self.sampler = SimpleNamespace(choose_all=lambda: None)
        self.network = SimpleNamespace(select=self.chosen.append)

    def score(self, architecture):
        self.scored.append(architecture)
        dice = self.dice.get(architecture, 0.1)
        return ChildScore(dice, (dice, dice), 1.0, 1.0, status="ok" if math.isfinite(dice) else "failed")


@pytest.fixture
def children():
    """A derived network and three others, which differ in more than the patch."""
    space = toy_space()
    found = {}
    for architecture in (space.base, *map(space.sample, map(random.Random, range(200)))):
        found.setdefault(str({k: v for k, v in architecture.items() if not k.startswith("patch")}), architecture)
    return space, list(found.values())[:4]


def history(children):
    return [{"episode": 1, "child": n, "architecture": a.to_dict(), "reward": 0.5} for n, a in enumerate(children)]


def reselection(space, scorer, small, **more):
    """Only networks that are ``small`` fit."""
    resources = SimpleNamespace(window_fits=lambda architecture: architecture in small, memory_gb=0.5)
    return Reselection(scorer, space, resources, **more)


def test_the_derived_network_is_taken_where_it_fits(children):
    space, (derived, *others) = children
    scorer = Scorer(dict.fromkeys(others, 0.99))
    result = reselection(space, scorer, [derived, *others], seen=True).run(history(others), derived, steps=7)
    assert result.architecture == derived
    assert scorer.scored == [derived]
    assert (result.steps, result.remark) == (7, "which the final training has seen")


def test_one_shot_or_windows_is_measured_for_the_choice(children):
    space, (derived, *_) = children
    asked = []
    windows = InferenceChoice(True, "Windows.", ("a", "b"), (0.7, 0.7), (0.8, 0.8))

    def inference(architecture):
        asked.append(architecture)
        return windows

    again = reselection(space, Scorer({derived: 0.7}), [derived], inference=inference)
    result = again.run([], derived, steps=7)
    assert asked == [derived]
    assert (result.inference, result.remark) == (windows, "in one shot")


def test_no_number_is_told_where_the_reward_cases_have_no_score(children):
    space, (derived, *_) = children
    result = reselection(space, Scorer({derived: math.nan}), [derived]).run([], derived, steps=7)
    assert (result.score, result.candidates[0]["reward"]) == (None, None)


def test_else_the_best_of_the_episodes_on_unseen_cases_in_terms_of_the_objective(children):
    space, (derived, *others) = children
    dice = dict(zip([derived, *others], (0.8, 0.7, 0.75, 0.2), strict=True))

    def run(**more):
        return reselection(space, Scorer(dice), others, **more).run(history(others), derived, steps=7)

    assert run().architecture == others[1]
    assert run().score.reward == 0.75
    costs = {others[0]: 1.0, others[1]: 0.5, others[2]: 100.0}  # the third is nothing worth, whatever it costs
    assert run(objective=lambda score, a: score.reward * costs[a]).architecture == others[0]


@pytest.mark.parametrize(
    ("episodes", "seen", "dice", "small", "message"),
    [
        (False, False, 0.7, True, "the search had no episodes, so that no other has been trained: give more memory"),
        (True, True, 0.7, True, "has seen the reward cases, .*--final_on_reward_cases false"),
        (True, False, 0.3, True, "weights worth having only for the network that it derived"),
        (True, False, math.nan, True, "weights worth having only"),
        (True, False, 0.7, False, "no other architecture of the history does"),
    ],
)
def test_what_the_search_cannot_tell_is_refused(children, episodes, seen, dice, small, message):
    space, (derived, *others) = children
    scorer = Scorer({derived: 0.8, **dict.fromkeys(others, dice)})
    again = reselection(space, scorer, others if small else [], seen=seen)
    with pytest.raises(ValueError, match=message):
        again.run(history(others) if episodes else [], derived, steps=7)
    assert scorer.chosen == []


def test_a_derived_network_without_a_score_tells_nothing_of_the_others(children):
    space, (derived, *others) = children
    scorer = Scorer({derived: math.nan, **dict.fromkeys(others, 0.01)})
    with pytest.raises(ValueError, match=r"derived has no score on the reward cases \(it is not a number\), so that "):
        reselection(space, scorer, others).run(history(others), derived, steps=7)
    assert scorer.scored == [derived]

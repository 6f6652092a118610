# SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import pytest

from monai_ronas.engines.best_child import BestChild
from monai_ronas.losses import ShrunkenAdvantage
from monai_ronas.space import Architecture

X, Y, Z = (Architecture({"b": b}) for b in "xyz")


def test_the_best_child_is_the_best_by_what_noise_leaves():
    """Rewards of an earlier episode spread ten times as far; the policy has come further since."""
    best, advantage = BestChild(), ShrunkenAdvantage()

    def episode(children, rewards):
        best.compare(children, rewards, advantage(rewards, children))

    episode([X, Y, X, Y, Z, math.nan], [0.1, 0.9, 0.1, 0.9, 0.5, math.nan])
    first = best.estimate
    assert best.child == Y
    best.rise(np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    assert best.level == 0.5
    episode([Y, Z, Y, Z, X, X], [0.50, 0.55, 0.50, 0.55, 0.48, 0.48])
    assert best.child == Z
    assert best.estimate > first
    advantage.noise = 1.0
    episode([X, Y, X, Y], [0.9, 0.1, 0.9, 0.1])
    assert best.child == Z


def test_a_child_counts_with_the_mean_of_its_advantages():
    best = BestChild()
    best.compare([X, Y, X], [0.9, 0.8, 0.1], [1.0, 0.5, -1.0])
    assert (best.child, best.estimate) == (Y, 0.5)


def test_a_child_without_a_reward_is_not_the_best():
    best = BestChild()
    best.compare([X], [math.nan], [0.0])
    assert best.child is None
    best.compare([X, Y], [math.nan, 0.2], [0.0, -1.0])
    assert best.child == Y


@pytest.mark.parametrize("compared", [True, False])
def test_the_state_is_plain_and_comes_back(compared):
    best = BestChild()
    if compared:
        best.compare([X, Y], [0.1, 0.2], [-1.0, 1.0])
        best.rise(np.array([0.0, 1.0]), np.array([-1.0, 1.0]))
    again = BestChild()
    again.load_state_dict(json.loads(json.dumps(best.state_dict())))
    assert (again.child, again.estimate, again.level) == (best.child, best.estimate, best.level)
    assert (best.child, best.level) == ((Y, 1.0) if compared else (None, 0.0))

# SPDX-License-Identifier: Apache-2.0
import numpy as np
from scipy.signal import detrend as without_gaps

from monai_ronas.utils import above_trend, detrend


def test_without_gaps_it_is_scipys():
    values = np.random.default_rng(0).standard_normal(10) + np.arange(10)
    np.testing.assert_allclose(detrend(values.tolist()), without_gaps(values), atol=1e-12)


def test_gaps_keep_their_place():
    line = [1.0 + 2.0 * n for n in range(6)]
    line[2] = float("nan")
    found = detrend(line)
    assert np.isnan(found[2])
    np.testing.assert_allclose(np.delete(found, 2), 0.0, atol=1e-12)


def test_few_values_lie_on_their_line():
    assert detrend([0.4]).tolist() == [0.0]
    assert detrend([0.4, 0.9]).tolist() == [0.0, 0.0]
    assert detrend([]).tolist() == []


def test_lines_of_a_history_are_compared_within_their_episode():
    rewards = {1: [0.1, 0.2, None, 0.4], 2: [0.5, 0.9, 0.7]}
    history = [{"episode": e, "reward": r} for e, values in rewards.items() for r in values]
    found = above_trend(history)
    assert [line["reward"] for _, line in found] == [0.1, 0.2, 0.4, 0.5, 0.9, 0.7]
    np.testing.assert_allclose([a for a, _ in found], [0, 0, 0, -0.1, 0.2, -0.1], atol=1e-9)

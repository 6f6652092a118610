# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from monai_ronas.losses import ShrunkenAdvantage


def test_a_hand_computed_case():
    """Residuals 1, -2, 1, 0 hundredths beside a trend: their variance is 6 / 2.

    The a, at places 0 and 2, have no variance within, and the line leaves them 1 - 2 / 5 degrees of freedom. The b, at
    places 1 and 3, have half the squared difference, 2, and as many.
    """
    residuals = np.array([1.0, -2.0, 1.0, 0.0])
    rewards = (0.5 + 0.01 * residuals + 0.2 * np.arange(4)).tolist()
    advantage = ShrunkenAdvantage(noise=1.0, weight=0.4)
    given = advantage(rewards, ["a", "b", "a", "c"])
    assert (advantage.noise, advantage.weight) == pytest.approx((0.4, 1.0))
    np.testing.assert_allclose(given, 0.6 * residuals / 3**0.5)
    given = advantage(rewards, ["a", "b", "c", "b"])
    assert (advantage.noise, advantage.weight) == pytest.approx(((0.4 + 0.6 * (2 / 0.6) / 3) / 1.6, 1.6))
    np.testing.assert_allclose(given, (1 - advantage.noise) * residuals / 3**0.5)


@pytest.mark.parametrize(("signal", "low", "high"), [(0.0, 0.9, 1.1), (1.0, 0.5, 0.7), (3.0, 0.1, 0.3)])
def test_the_noise_is_found_whatever_trend_and_scale(signal, low, high):
    """Where children differ, the line takes some of that with it, and the noise is taken for a little larger."""
    generator = np.random.default_rng(0)
    advantage = ShrunkenAdvantage(weight=1e-3)
    for episode in range(1500):
        children = [*range(9), 0]
        generator.shuffle(children)
        worth = signal * generator.standard_normal(9)[children]
        scale = 1 / (episode + 1)  # the first episode spreads the farthest
        advantage((scale * (worth + generator.standard_normal(10) + np.arange(10))).tolist(), children)
    assert low < advantage.noise < high


def test_all_children_alike_are_all_noise():
    advantage = ShrunkenAdvantage(noise=0.0, weight=1e-9)
    given = advantage([0.1, 0.5, 0.3, 0.2, 0.9], ["a"] * 5)
    assert advantage.noise == pytest.approx(1.0)
    np.testing.assert_allclose(given, 0.0, atol=1e-6)


def test_children_without_reward_have_no_advantage_and_few_children_teach_nothing():
    advantage = ShrunkenAdvantage()
    nan = float("nan")
    given = advantage([0.1, nan, 0.4, 0.2, nan, 0.1], ["a", "b", "c", "d", "e", "f"])
    assert list(given[[1, 4]]) == [0.0, 0.0]
    assert abs(given[[0, 2, 3, 5]]).min() > 0
    assert given.sum() == pytest.approx(0.0)
    before = advantage.state_dict()
    assert advantage([0.1, nan, 0.4, 0.1], ["a", "b", "c", "a"]).tolist() == [0.0] * 4
    assert advantage.state_dict() == before


def test_rounding_is_not_taken_for_a_difference():
    advantage = ShrunkenAdvantage()
    rewards = [0.1 + 0.01 * n for n in range(6)]
    assert abs(advantage(rewards, ["a", "b", "c", "a", "d", "e"])).max() < 1e-6
    assert (advantage.noise, advantage.weight) == (0.5, 20.0)


def test_state_is_restored():
    advantage = ShrunkenAdvantage()
    advantage([0.1, 0.5, 0.3, 0.2, 0.9], ["a", "b", "a", "c", "d"])
    restored = ShrunkenAdvantage()
    restored.load_state_dict(advantage.state_dict())
    assert restored.state_dict() == advantage.state_dict() != ShrunkenAdvantage().state_dict()


@pytest.mark.parametrize("kwargs", [{"noise": 1.5}, {"weight": 0.0}])
def test_arguments_are_checked(kwargs):
    with pytest.raises(ValueError, match=f"{next(iter(kwargs))} must be"):
        ShrunkenAdvantage(**kwargs)

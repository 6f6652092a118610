# SPDX-License-Identifier: Apache-2.0
"""How much better than expected a child is, as far as rewards tell children apart."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from monai_ronas.errors import SettingError
from monai_ronas.utils import detrend

_LEAST_SPREAD = 1e-4  # of Dice: children closer together than this are not told apart


class ShrunkenAdvantage:
    r"""Detrended rewards in units of their spread, times the share of their variance that is no noise:

    .. math:: A_i = \max(0, 1 - \nu)\,r_i / s, \qquad s^2 = \sum_i r_i^2 / (N - 2)

    Rewards :math:`r` are the residuals of a line over the positions of the episode. Architectures that occur more than
    once tell the noise: the variance within them, for one that occurs twice half the squared difference, by the degrees
    of freedom that the line leaves it. Its share of :math:`s^2` has the expectation 1 where all is noise, whatever the
    scale of the rewards, and is somewhat too large where children differ. :math:`\nu` is the running mean of this share
    over the episodes, each with the weight of its degrees of freedom, and begins with a belief. So pure noise moves a
    policy less and less, and a reward that ranks moves it fully.

    Args:
        noise: share of the variance that is taken for noise before anything is known, 0 to 1.
        weight: degrees of freedom that this belief is worth: about so many episodes with a child that occurs twice.

    Attributes:
        noise: the running mean of the share.
        weight: the degrees of freedom on which it rests.

    Raises:
        SettingError: when ``noise`` is not a share or ``weight`` is not positive.

    Example:
        >>> advantage = ShrunkenAdvantage(noise=0.5, weight=1.0)
        >>> advantage([0.1, 0.5, 0.2, 0.5, 0.1], ["a", "b", "c", "b", "d"]).round(2).tolist()
        [-0.55, 0.67, -0.24, 0.67, -0.55]
        >>> round(advantage.noise, 2)  # both b have the same reward
        0.28
    """  # noqa: D415

    def __init__(self, *, noise: float = 0.5, weight: float = 20.0) -> None:
        if not 0.0 <= noise <= 1.0:
            raise SettingError(f"noise must be from 0 to 1, received {noise}.")
        if weight <= 0.0:
            raise SettingError(f"weight must be positive, received {weight}.")
        self.noise = noise
        self.weight = weight

    def __call__(self, rewards: Sequence[float], children: Sequence[Hashable]) -> np.ndarray:
        """Learn from an episode and give its advantages.

        Args:
            rewards: of the episode's children in their order, ``(N,)``; NaN for a child without one.
            children: the architectures, in the same order.

        Returns:
            ``(N,)``; 0 for a child without a reward, and for all where fewer than four have one: two of them fix the
            line, and a third is not told apart from noise.
        """
        residuals = detrend(rewards)
        places = np.flatnonzero(np.isfinite(residuals))
        advantages = np.zeros(len(residuals))
        if len(places) < 4:
            return advantages
        scored = residuals[places]
        variance = float((scored**2).sum()) / (len(places) - 2)
        if variance > _LEAST_SPREAD**2:
            self._learn(scored, variance, places, [children[int(n)] for n in places])
        advantages[places] = max(0.0, 1.0 - self.noise) * scored / max(variance**0.5, _LEAST_SPREAD)
        return advantages

    def _learn(self, residuals: np.ndarray, variance: float, places: np.ndarray, children: list[Hashable]) -> None:
        """Take the noise within architectures into the running mean."""
        numbers = {child: n for n, child in enumerate(dict.fromkeys(children))}
        groups = np.array([numbers[child] for child in children])
        line = _within(places, groups) / _within(places, np.zeros_like(groups))
        freedom = len(groups) - len(numbers) - line
        if freedom > 1e-6:
            share = _within(residuals, groups) / freedom / variance
            self.weight += freedom
            self.noise += (share - self.noise) * freedom / self.weight

    def state_dict(self) -> dict[str, float]:
        """The running mean, as plain types."""
        return {"noise": self.noise, "weight": self.weight}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.noise, self.weight = state["noise"], state["weight"]


def _within(values: np.ndarray, groups: np.ndarray) -> float:
    """Sum of squared distances to the mean of the own group."""
    means = np.bincount(groups, weights=values) / np.bincount(groups)
    return float(((values - means[groups]) ** 2).sum())

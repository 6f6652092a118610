# SPDX-License-Identifier: Apache-2.0
"""The best child of all episodes, by what noise leaves of the rewards."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from monai_ronas.space import Architecture


class BestChild:
    """Compare children of different episodes by their advantages.

    Advantages are of their own episode, so that each is taken above the level that the policy had by then. The level is
    the sum of what the updates were worth: of an episode's advantages, weighted by how much more probable the update
    made each child.

    Attributes:
        child: the best one; None before any has a reward.
        estimate: its mean advantage above the level of the first episode.
        level: of the policy.

    Example:
        >>> best = BestChild()
        >>> best.compare([Architecture({"width": 1}), Architecture({"width": 2})], [0.5, 0.7], [-1.0, 1.0])
        >>> best.rise(np.array([0.25, 0.75]), np.array([-1.0, 1.0]))
        >>> best.child["width"], best.estimate, best.level
        (2, 1.0, 0.5)
    """

    def __init__(self) -> None:
        self.child: Architecture | None = None
        self.estimate = -math.inf
        self.level = 0.0

    def compare(self, children: Iterable[Architecture], rewards: Iterable[float], advantages: Iterable[float]) -> None:
        """Compare an episode's children, each with the mean of its own advantages, with the best.

        Args:
            children: of the episode; one may occur more than once.
            rewards: in the same order; a child whose reward is not finite is left out.
            advantages: in the same order.
        """
        own: dict[Architecture, list[float]] = {}
        for child, reward, advantage in zip(children, rewards, advantages, strict=True):
            if math.isfinite(reward):
                own.setdefault(child, []).append(float(advantage))
        for child, values in own.items():
            estimate = self.level + sum(values) / len(values)
            if estimate > self.estimate:
                self.estimate, self.child = estimate, child

    def rise(self, weights: np.ndarray, advantages: np.ndarray) -> None:
        """Add what an update of the policy was worth.

        Args:
            weights: of the episode's children, ``(N,)``, with the sum 1: higher for those that the update made more
                probable.
            advantages: of the children, ``(N,)``.
        """
        self.level += float((weights * advantages).sum())

    def state_dict(self) -> dict[str, Any]:
        """What the comparison goes on from, as plain types."""
        child = None if self.child is None else self.child.to_json()
        return {"best_child": child, "best_estimate": self.estimate, "level": self.level}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; other keys are left alone."""
        child = state["best_child"]
        self.child = None if child is None else Architecture.from_json(child)
        self.estimate, self.level = state["best_estimate"], state["level"]

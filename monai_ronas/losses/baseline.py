# SPDX-License-Identifier: Apache-2.0
"""What a reward is compared with."""

from __future__ import annotations

import torch


class LeaveOneOutBaseline:
    """The mean reward of the episode's other children: unbiased, without memory.

    A child alone in its episode gets advantage 0. NaN marks a child without a reward; it is left out of every mean and
    gets advantage 0 itself.
    """

    def advantage(self, rewards: torch.Tensor) -> torch.Tensor:
        """Rewards ``(N,)`` to advantages ``(N,)``."""
        valid = ~rewards.isnan()
        total, count = rewards[valid].sum(), int(valid.sum())
        others = (total - rewards) / max(count - 1, 1)
        return torch.where(valid & (count > 1), rewards - others, torch.zeros_like(rewards))

    def state_dict(self) -> dict[str, float]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Nothing to restore."""


class ExponentialBaseline:
    """An exponential moving average of the episodes' mean rewards, as in ENAS.

    Args:
        decay: weight of the past, in [0, 1).
    """

    def __init__(self, decay: float = 0.95) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay = decay
        self.value: float | None = None

    def advantage(self, rewards: torch.Tensor) -> torch.Tensor:
        """Rewards ``(N,)`` to advantages ``(N,)``; updates the average first. NaN: no reward, advantage 0."""
        valid = ~rewards.isnan()
        if valid.any():
            mean = float(rewards[valid].mean())
            self.value = mean if self.value is None else self.decay * self.value + (1.0 - self.decay) * mean
        return torch.where(valid, rewards - (self.value or 0.0), torch.zeros_like(rewards))

    def state_dict(self) -> dict[str, float]:
        """The average, where there is one."""
        return {} if self.value is None else {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.value = state.get("value")

# SPDX-License-Identifier: Apache-2.0
"""A network in the race."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from monai_ronas.engines.forecast import Curve
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import ChildScore, TrainingError


@dataclass(eq=False)
class Contender:
    """A network with weights and an optimiser of its own.

    Args:
        architecture: the network.
        origin: where it comes from, for people.
        curve: its errors, 1 - soft Dice of each case.
        scores: the score of each measurement of the curve.
        state: of its training; None before its first turn.
        failed: it cannot be trained or scored.
    """

    architecture: Architecture
    origin: str
    curve: Curve = field(default_factory=Curve)
    scores: list[ChildScore] = field(default_factory=list)
    state: dict[str, Any] | None = None
    failed: bool = False

    @property
    def trained(self) -> float:
        """Seconds or steps of its training so far."""
        return self.curve.times[-1] if self.curve.times else 0.0

    def record(self, forecast: float | None) -> dict[str, Any]:
        """What reports tell of it, in plain types.

        Args:
            forecast: soft Dice that it would have with all the time that is left, if it is known.
        """
        return {
            "origin": self.origin,
            "architecture": self.architecture.to_dict(),
            "id": self.architecture.id,
            "reward": self.scores[-1].reward if self.scores else None,
            "trained": self.trained or None,
            "forecast": forecast,
            "curve": [[t, s.reward] for t, s in zip(self.curve.times, self.scores, strict=True)],
        }

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain types."""
        return {
            "architecture": self.architecture.to_json(),
            "origin": self.origin,
            "curve": asdict(self.curve),
            "state": self.state,
            "scores": [asdict(s) for s in self.scores],
            "failed": self.failed,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Contender:
        """Inverse of :meth:`to_dict`."""
        return cls(
            Architecture.from_json(content["architecture"]),
            content["origin"],
            Curve(**content["curve"]),
            [ChildScore(**score) for score in content["scores"]],
            content["state"],
            content["failed"],
        )


def errors_of(score: ChildScore) -> list[float]:
    """1 - soft Dice of each case, or 1 - Dice without any; NaN for a case without foreground.

    A case that has a Dice but no soft Dice has logits that are not numbers: its error is 1.

    Example:
        >>> nan = float("nan")
        >>> errors_of(ChildScore(0.4, (0.3, 0.5, nan), 1.0, 1.0, soft=(0.25, nan, nan)))
        [0.75, 1.0, nan]
    """
    pairs = zip(score.soft or score.per_case, score.per_case, strict=True)
    return [1.0 if math.isnan(soft) and math.isfinite(dice) else 1 - soft for soft, dice in pairs]


def trainable(space: RonasSpace, architecture: Architecture) -> Architecture:
    """The same network, with the largest patch that a limit of memory allows which was learnt meanwhile.

    Raises:
        TrainingError: when there is none.
    """
    if space.is_feasible(architecture):
        return architecture
    for smaller in space.with_every_patch(architecture):
        if space.is_feasible(smaller):
            return smaller
    raise TrainingError(f"the network {architecture.id} does not fit into the memory with any patch.")

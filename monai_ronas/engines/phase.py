# SPDX-License-Identifier: Apache-2.0
"""How far a part of the search has come, in steps or in time."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from monai_ronas.utils import TimeBudget

if TYPE_CHECKING:
    from monai_ronas.engines.slice_trainer import SliceTrainer

logger = logging.getLogger(__name__)


class Phase:
    """A stretch of training that ends after a number of steps or, under a time budget, at a share of the budget.

    Args:
        name: what a person is shown.
        slices: the trainer whose steps count.
        budget: the time budget; without a limit, ``steps`` rules.
        steps: length in steps.
        until: share of the budget at which the phase ends.
        begun: :meth:`state_dict` of the same phase before an interruption.
    """

    def __init__(
        self,
        name: str,
        slices: SliceTrainer,
        budget: TimeBudget,
        *,
        steps: int,
        until: float,
        begun: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        self._slices = slices
        self._budget = budget
        self._steps = max(steps, 1)
        self._first_step = slices.steps if begun is None else int(begun["first_step"])
        self._begin = budget.elapsed() if begun is None else begun["begin"]
        self._end = budget.until(until)
        logger.info(
            "%s: %s", name, f"{self._steps} steps" if self._end is None else f"until {self._end:.0f} s after the start"
        )

    def state_dict(self) -> dict[str, float]:
        """Where the phase began: step and second."""
        return {"first_step": self._first_step, "begin": self._begin}

    @property
    def is_timed(self) -> bool:
        """Whether it ends with the time, not after a number of steps."""
        return self._end is not None

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end or later."""
        if self._end is None:
            return min(1.0, (self._slices.steps - self._first_step) / self._steps)
        return min(1.0, (self._budget.elapsed() - self._begin) / max(self._end - self._begin, 1e-6))

    def done(self) -> bool:
        """Whether the phase is over."""
        return self.progress >= 1.0

    def cosine(self) -> float:
        """Factor of the learning rate that falls from 1 to 0 over the phase."""
        return 0.5 * (1.0 + math.cos(math.pi * self.progress))

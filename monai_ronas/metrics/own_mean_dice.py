# SPDX-License-Identifier: Apache-2.0
"""The Dice of the cases that a process has scored itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.handlers import MeanDice


class OwnMeanDice(MeanDice):
    """MONAI's ``MeanDice`` of this process' own cases; those of the others are not gathered.

    :class:`~monai_ronas.engines.ChildScorer` gathers them itself: it can tell that another process has ended, and do
    without the others where each process scores a network of its own. In a single process the values are MONAI's.

    Args:
        kwargs: as those of :class:`monai.handlers.MeanDice`. The mean is that over the cases of each one's mean over
            its classes, and ``state.metric_details`` has the values ``(cases, classes)``.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._rows: list[torch.Tensor] = []
        super().__init__(**kwargs)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._rows = []

    def update(self, output: Sequence[torch.Tensor]) -> None:
        """Take note of a batch: predictions and labels."""
        prediction, label = output
        self._rows.append(torch.as_tensor(self.metric_fn(prediction, label)))

    def compute(self) -> float:
        """The mean so far."""
        rows = torch.cat(self._rows)
        if self._engine is not None and self._name is not None:
            state: Any = self._engine.state
            state.metric_details[self._name] = rows
        return float(rows.nanmean(dim=1).nanmean())

# SPDX-License-Identifier: Apache-2.0
"""Mean Dice that is told apart from no Dice."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from monai.handlers import MeanDice

logger = logging.getLogger(__name__)


class LabelledDice(MeanDice):
    """Mean foreground Dice of the cases that have foreground; NaN, where MONAI's ``MeanDice`` is 0, if none has.

    A class that a case does not have is left out of the case's mean, a case without foreground out of the mean of all;
    how many such cases there are is logged.

    Args:
        num_classes: number of classes, background included.
        output_transform: gives predictions and labels, one-hot or class indices, of the engine's output.
    """

    def __init__(self, *, num_classes: int, output_transform: Callable[..., Any]) -> None:
        super().__init__(include_background=False, num_classes=num_classes, output_transform=output_transform)

    def compute(self) -> Any:
        """The mean, as a number."""
        mean = super().compute()
        details: Any = self.metric_fn.get_buffer()  # (cases, classes)
        empty = int(details.isnan().all(dim=1).sum())
        if empty:
            logger.warning("%d of %d case(s) have no foreground and no Dice: left out of the mean", empty, len(details))
        return math.nan if empty == len(details) else mean

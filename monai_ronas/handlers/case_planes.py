# SPDX-License-Identifier: Apache-2.0
"""What the report shows of the cases that are scored last."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.utils import convert_to_tensor

from monai_ronas.utils import Plane, TimeBudget, three_planes


class CasePlanes:
    """Keep three planes of every case of the last score, for the report; a handler of an evaluator.

    The predictions are those of the scoring itself: nothing is segmented twice, and no whole volume is kept.

    Args:
        budget: tells which part of the search is under way.
        part: the part whose scores are looked at; scores at other times leave :attr:`cases` as it is.
        image_key: key of the image in the evaluator's output, ``(C, H, W, D)``.
        label_key: key of the label, class indices ``(1, H, W, D)``.
        pred_key: key of the prediction, class indices ``(1, H, W, D)``.

    Attributes:
        cases: the planes of each case, in the order of the scores.
    """

    def __init__(
        self,
        budget: TimeBudget,
        *,
        part: str = "last scores",
        image_key: str = "image",
        label_key: str = "label",
        pred_key: str = "pred",
    ) -> None:
        self.budget = budget
        self.part = part
        self.keys = (image_key, label_key, pred_key)
        self.cases: list[tuple[Plane, ...]] = []

    def attach(self, engine: Engine) -> None:
        """Look at every case that ``engine`` scores."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        if self.budget.part == self.part:
            self.cases = []

    def __call__(self, engine: Engine) -> None:
        """Keep the planes of the cases just segmented."""
        if self.budget.part != self.part:
            return
        output: Any = engine.state.output
        for item in output:
            image, label, prediction = (convert_to_tensor(item[key], track_meta=False) for key in self.keys)
            self.cases.append(three_planes(image, label, prediction.to(label.device)))

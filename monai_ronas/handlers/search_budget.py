# SPDX-License-Identifier: Apache-2.0
"""The part of the time budget that episodes may take."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_ronas.utils import TimeBudget


class SearchBudget:
    """End the search after the episode behind which not even half of another one would fit.

    The last episode is thus cut short rather than left out (see :class:`~monai_ronas.handlers.ChildTraining`). A search
    that is continued when the time of its episodes is up makes no more of them. List it behind a warm-up: the first
    episode is timed from where that has ended.

    Args:
        budget: the time budget.
        until: share of it at which the episodes end.
    """

    def __init__(self, budget: TimeBudget, *, until: float = 0.4) -> None:
        self.budget = budget
        self.until = until
        self._begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Watch the episodes of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._begin = self.budget.elapsed()
        end = self.budget.until(self.until)
        if engine.state.epoch > 0 and end is not None and self._begin > end:
            engine.terminate()

    def __call__(self, engine: Engine) -> None:
        """Terminate where half of the next episode, taking as long as this one, would end too late."""
        end = self.budget.until(self.until)
        now = self.budget.elapsed()
        if end is not None and now + 0.5 * (now - self._begin) > end:
            engine.terminate()
        self._begin = now

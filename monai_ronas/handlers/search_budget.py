# SPDX-License-Identifier: Apache-2.0
"""The part of the time budget that episodes may take."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.utils import TimeBudget

logger = logging.getLogger(__name__)


class SearchBudget:
    """End the search after the episode after which not even half of another one would fit.

    The last episode is thus cut short rather than left out (see :class:`~monai_ronas.handlers.ChildTraining`). A search
    that is continued when the time of its episodes is up makes no more of them. Where the scores of a single episode
    would already take longer than its time, as those of large volumes do, there are no episodes: the base network has
    their time. List it after a warm-up: the first episode is timed from where that has ended.

    Args:
        budget: the time budget.
        until: share of it at which the episodes end.
        scores_per_child: how often a child is scored in an episode.
        checkpoint: tells where an interrupted search was. Default: it was not in its final training.
    """

    def __init__(
        self,
        budget: TimeBudget,
        *,
        until: float = 0.4,
        scores_per_child: int = 3,
        checkpoint: SearchCheckpoint | None = None,
    ) -> None:
        self.budget = budget
        self.until = until
        self.scores_per_child = scores_per_child
        self.checkpoint = checkpoint
        self._begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Watch the episodes of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: ControllerTrainer) -> None:
        self._begin = self.budget.elapsed()
        end = self.budget.until(self.until)
        if end is None:
            return
        ended = self.checkpoint is not None and "final training" in self.checkpoint.interrupted
        if engine.state.epoch > 0 or ended:
            if self._begin > end or ended:
                engine.terminate()
            return
        seconds = engine.scorer.seconds_of_a_case()
        needed = engine.state.epoch_length * self.scores_per_child * engine.scorer.sampler.per_episode * seconds
        if self.budget.elapsed() + needed > end:
            logger.info(
                "no episodes: the scores of one would take %.0f s, and there are %.0f s", needed, end - self._begin
            )
            engine.terminate()

    def __call__(self, engine: Engine) -> None:
        """Terminate where half of the next episode, taking as long as this one, would end too late."""
        end = self.budget.until(self.until)
        now = self.budget.elapsed()
        if end is not None and now + 0.5 * (now - self._begin) > end:
            engine.terminate()
        self._begin = now

# SPDX-License-Identifier: Apache-2.0
"""The part of the time budget that episodes may take."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer, SliceTrainer
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.utils import TimeBudget

logger = logging.getLogger(__name__)


class SearchBudget:
    """End the search after the episode after which not even half of another one would fit.

    The last episode is thus cut short rather than left out (see :class:`~monai_ronas.handlers.ChildTraining`). A search
    that is continued when the time of its episodes is up makes no more of them. Where fewer than ``least_episodes``
    fit, none is made: they would teach the controller too little to do better than random choice, and their time is
    worth more to the network that is chosen. List it after a warm-up: the time of an episode is estimated from its
    last slice, and the first episode is timed from where it has ended.

    Args:
        budget: the time budget.
        slices: trains a child.
        until: share of it at which the episodes end.
        least_episodes: as many are made or none. The default is from a simulation (``tests/benchmarks/policy.py``). A
            search that is to have fewer episodes in all needs time for those only.
        checkpoint: tells where an interrupted search was. Default: it was not in its final training.
    """

    def __init__(
        self,
        budget: TimeBudget,
        slices: SliceTrainer,
        *,
        until: float = 0.4,
        least_episodes: int = 8,
        checkpoint: SearchCheckpoint | None = None,
    ) -> None:
        self.budget = budget
        self.slices = slices
        self.until = until
        self.least_episodes = least_episodes
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
        number = min(self.least_episodes, engine.state.max_epochs or self.least_episodes)
        needed = number * self.seconds_of_an_episode(engine)
        if self.budget.elapsed() + needed > end:
            logger.info("no episodes: %d would take %.0f s, and there are %.0f s", number, needed, end - self._begin)
            engine.terminate()

    def seconds_of_an_episode(self, engine: ControllerTrainer) -> float:
        """Seconds that an episode takes, by those of the last slice and of the score of a case."""
        training = self.slices.trainer.state.times[Events.EPOCH_COMPLETED.name] or 0.0
        scoring = engine.scorer.sampler.per_episode * engine.scorer.seconds_of_a_case()
        return int(engine.state.epoch_length or 0) * (training + scoring)

    def __call__(self, engine: Engine) -> None:
        """Terminate where half of the next episode, taking as long as this one, would end too late."""
        end = self.budget.until(self.until)
        now = self.budget.elapsed()
        if end is not None and now + 0.5 * (now - self._begin) > end:
            engine.terminate()
        self._begin = now

# SPDX-License-Identifier: Apache-2.0
"""The part of the time budget that episodes may take."""

from __future__ import annotations

import logging
import math

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer, Race
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.space import neighbours
from monai_ronas.utils.ranks import from_main, number_of_ranks

logger = logging.getLogger(__name__)
_UNTIL = 0.12


class SearchBudget:
    """End the search after the episode after which not even half of another one would fit.

    The last episode is thus cut short rather than left out (see :class:`~monai_ronas.handlers.ChildTraining`). A search
    that is continued when the time of its episodes is up, or in its race or final training, makes no more of them.

    No episode is made where its time is worth more to the network that is chosen. That is so where fewer than
    ``least_episodes`` fit, which would teach the controller too little to do better than random choice, and, unless
    ``until`` asks for episodes, where no race would follow, as nothing else chooses from what they find. Before the
    warm-up :meth:`are_worth_it` tells it by the planned pace and the score of a case, after it the last slice does:
    list it after a warm-up, from whose end the first episode is timed. Without a time budget all episodes are made.

    Args:
        race: that follows the episodes; the time budget and the training are its own.
        until: share of the time at which the episodes end. Default: 0.12 where the race would be held, else there are
            none.
        least_episodes: as many are made or none. The default is from a simulation (``tests/benchmarks/policy.py``). A
            search that is to have fewer episodes in all needs time for those only.
        seconds_per_step: of the base network, as planned; None where nothing was measured.
        checkpoint: tells where an interrupted search was. Default: it was in its episodes, if anywhere.
    """

    def __init__(
        self,
        race: Race,
        *,
        until: float | None = None,
        least_episodes: int = 8,
        seconds_per_step: float | None = None,
        checkpoint: SearchCheckpoint | None = None,
    ) -> None:
        self.race = race
        self.budget = race.budget
        self.slices = race.slices
        self.until = _UNTIL if until is None else until
        self.wanted = until is not None
        self.least_episodes = least_episodes
        self.seconds_per_step = seconds_per_step
        self.checkpoint = checkpoint
        self._begin = 0.0

    def attach(self, engine: Engine) -> None:
        """Watch the episodes of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def are_worth_it(self, engine: ControllerTrainer, *, after: float = 0.0) -> bool:
        """Whether a race would follow, and the least number of episodes end in time.

        The time of an episode is that of the planned pace and of the score of a case.

        Args:
            engine: the search.
            after: share of the time before which no episode begins.
        """
        if self.budget.until(self.until) is None:
            return True
        if not self._are_chosen_from(engine):
            return False
        if self.seconds_per_step is None:
            return True
        training = self.slices.slice_steps * self.seconds_per_step
        begin = self.budget.until(after) or 0.0
        return self._fit(engine, _turns(engine) * training, begin) and self._fit(
            engine, self.seconds_of_an_episode(engine, training), begin
        )

    def _are_chosen_from(self, engine: ControllerTrainer) -> bool:
        """Whether there is a race that may choose what the episodes find; says so where not."""
        space = self.race.space
        proposals = 1 + bool(list(engine.controller.parameters()))  # the best candidate and the policy's mode
        contenders = 1 + len(neighbours(space, space.base)) + proposals
        if self.wanted or self.race.is_worth_holding(contenders):
            return True
        logger.info("no episodes: no race would follow that chooses from them (search_until asks for them)")
        return False

    def _fit(self, engine: ControllerTrainer, seconds: float, begin: float = 0.0) -> bool:
        """Whether the least number of episodes of so many seconds from ``begin`` on end in time; says so where not."""
        end, now = self.budget.until(self.until), max(self.budget.elapsed(), begin)
        number = min(self.least_episodes, engine.state.max_epochs or self.least_episodes)
        if end is None or now + number * seconds <= end:
            return True
        logger.info(
            "no episodes: %d would take %.0f s or more, and there are %.0f s",
            number,
            number * seconds,
            max(end - now, 0.0),
        )
        return False

    def _start(self, engine: ControllerTrainer) -> None:
        self._begin = self.budget.elapsed()
        end = self.budget.until(self.until)
        if engine.should_terminate:
            return
        if self.checkpoint is not None and self.checkpoint.episodes_are_over:
            engine.terminate()
        elif end is None:
            return
        elif engine.state.epoch > 0:
            if self._begin > end:
                engine.terminate()
        elif not (self._are_chosen_from(engine) and self._fit(engine, self.seconds_of_an_episode(engine))):
            engine.terminate()

    def seconds_of_an_episode(self, engine: ControllerTrainer, training: float | None = None) -> float:
        """Seconds that an episode takes, by those of a slice, the last one's, and of the score of a case."""
        if training is None:
            training = from_main(self.slices.trainer.state.times[Events.EPOCH_COMPLETED.name] or 0.0)
        cases = engine.scorer.sampler.per_episode
        if engine.at_once == 1:
            cases = math.ceil(cases / number_of_ranks())
        return _turns(engine) * (training + cases * engine.scorer.seconds_of_a_case())

    def __call__(self, engine: Engine) -> None:
        """Terminate where half of the next episode, taking as long as this one, would end too late."""
        end = self.budget.until(self.until)
        now = self.budget.elapsed()
        if end is not None and now + 0.5 * (now - self._begin) > end:
            engine.terminate()
        self._begin = now


def _turns(engine: ControllerTrainer) -> int:
    """Turns of an episode that one process has after another."""
    children = int(engine.state.epoch_length or 0)
    if engine.at_once == 1:
        return children
    rounds = (min(engine.at_once, children - first) for first in range(0, children, engine.at_once))
    return sum(math.ceil(size / number_of_ranks()) for size in rounds)

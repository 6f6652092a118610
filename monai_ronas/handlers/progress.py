# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a search runs."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

from monai_ronas.engines import ControllerTrainer, EpisodeEvents, Phase, SliceTrainer
from monai_ronas.utils.ranks import is_main

logger = logging.getLogger(__name__)


class SearchProgress:
    """A bar over the episodes and one over the children of the episode, with reward and entropy; a log line as well.

    Args:
        disable: None shows the bars on a terminal only, True never, False always.
    """

    def __init__(self, disable: bool | None = None) -> None:
        self.disable = disable if is_main() else True
        self._episodes: tqdm | None = None
        self._children: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Show the progress of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._scored)
        engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, self._updated)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _open(self, engine: Engine) -> None:
        total, done = engine.state.max_epochs, engine.state.epoch
        self._episodes = tqdm(total=total, initial=done, desc="episodes", disable=self.disable, position=0)
        self._children = tqdm(total=engine.state.epoch_length, desc="candidates", disable=self.disable, position=1)

    def _begin(self, engine: Engine) -> None:
        if self._children is not None:
            self._children.reset()

    def _scored(self, engine: ControllerTrainer) -> None:
        if self._children is not None:
            self._children.update()
            self._children.set_postfix(reward=f"{engine.state.score.reward:.3f}", refresh=False)

    def _updated(self, engine: Engine) -> None:
        reward, entropy, noise = (engine.state.metrics[name] for name in ("reward", "entropy", "noise"))
        logger.info(
            "episode %d: mean reward %.4f, entropy %.3f, noise %.2f", engine.state.epoch, reward, entropy, noise
        )
        if self._episodes is not None:
            self._episodes.update()
            self._episodes.set_postfix(reward=f"{reward:.3f}", entropy=f"{entropy:.2f}")

    def _close(self, engine: Engine) -> None:
        for bar in (self._children, self._episodes):
            if bar is not None:
                bar.close()

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error


class TrainingProgress:
    """A bar, with the loss, over each phase of training; for the handlers of the trainer.

    Args:
        slices: runs the trainer.
        disable: None shows the bar on a terminal only, True never, False always.
    """

    def __init__(self, slices: SliceTrainer, disable: bool | None = None) -> None:
        self.slices = slices
        self.disable = disable if is_main() else True
        self._bar: tqdm | None = None
        self._phase: Phase | None = None

    def attach(self, engine: Engine) -> None:
        """Show the progress of ``engine``, the stock trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Show how far the phase has come."""
        phase = self.slices.phase
        if phase is not self._phase:
            self._phase = phase
            self._bar = None if phase is None else tqdm(total=100, desc=phase.name, disable=self.disable, unit="%")
        if phase is None or self._bar is None or self._bar.disable:
            return
        self._bar.update(round(100 * phase.progress) - self._bar.n)
        self._bar.set_postfix(step=engine.state.iteration, loss=f"{_loss(engine):.3f}", refresh=False)
        if phase.done():
            self._bar.close()


def _loss(engine: Engine) -> float:
    output: Any = engine.state.output
    return float((output[0] if isinstance(output, list) else output)["loss"].detach())

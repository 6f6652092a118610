# SPDX-License-Identifier: Apache-2.0
"""Training of the shared weights before the controller speaks."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer, Phase, SliceTrainer
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.handlers.search_budget import SearchBudget
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import TimeBudget


class WarmUp:
    """Train the shared weights once, before the first episode; not where no episode is to follow.

    The very first step is the largest architecture, the second the base network with its larger batch, so that the need
    for memory is known at once. Then come random architectures, one a step.

    Args:
        slices: trains the shared weights.
        space: the architectures.
        budget: the time budget.
        steps: length in steps where there is no time budget.
        until: share of the time budget at which the warm-up ends.
        episodes: tells whether there are to be episodes at all. Default: there are.
        seed: seed of the random architectures.
        checkpoint: saves the warm-up now and then. Default: it starts over after an interruption.
    """

    def __init__(
        self,
        slices: SliceTrainer,
        space: RonasSpace,
        budget: TimeBudget,
        *,
        steps: int,
        until: float = 0.2,
        episodes: SearchBudget | None = None,
        seed: int = 0,
        checkpoint: SearchCheckpoint | None = None,
    ) -> None:
        self.slices = slices
        self.space = space
        self.budget = budget
        self.steps = steps
        self.until = until
        self.episodes = episodes
        self.generator = random.Random(seed)
        self.checkpoint = checkpoint

    def attach(self, engine: Engine) -> None:
        """Run at the start of ``engine`` unless it resumes."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: ControllerTrainer) -> None:
        """Warm up."""
        if engine.state.epoch > 0 or (self.checkpoint is not None and self.checkpoint.episodes_are_over):
            return
        begun = None if self.checkpoint is None else self.checkpoint.interrupted.pop("warm-up", None)
        if begun is not None:
            self.generator.setstate((3, tuple(begun["generator"]), None))
        elif self.episodes is not None and not self.episodes.are_worth_it(engine, after=self.until):
            engine.terminate()
            return
        self.budget.enter("warm-up")
        phase = Phase("warm-up", self.slices, self.budget, steps=self.steps, until=self.until, begun=begun)
        order = self.order(done=self.slices.steps - int(phase.state_dict()["first_step"]))

        def save() -> None:
            if self.checkpoint is not None:
                state = {**phase.state_dict(), "generator": list(self.generator.getstate()[1])}
                self.checkpoint.save_within(engine, "warm-up", state)

        self.slices.run(lambda: next(order), phase=phase, between=save)

    def order(self, *, done: int = 0) -> Iterator[Architecture]:
        """The architectures to train, one a step, without end, after the steps that are ``done``."""
        yield from [self.space.largest, self.space.base][done:]
        while True:
            yield self.space.sample(self.generator)

# SPDX-License-Identifier: Apache-2.0
"""Training of the shared weights before the controller speaks."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ignite.engine import Engine, Events

from monai_ronas.engines import Phase, SliceTrainer
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import TimeBudget


class WarmUp:
    """Train the shared weights once, when the search starts.

    The very first step is the largest architecture, the second the base network with its larger batch, so that the need
    for memory is known at once. Then the base network and random architectures share the steps. With ``base_share`` 1
    the base network has them all, at the full learning rate, and a copy of its weights is kept for its trial: training
    of many architectures spoils them as a start for it (the bundle's docs have the figures).

    Args:
        slices: trains the shared weights.
        space: the architectures.
        budget: the time budget.
        steps: length in steps where there is no time budget.
        until: share of the time budget at which the warm-up ends.
        base_share: share of the steps behind the first that the base network gets, 0 to 1.
        seed: seed of the random architectures.
        checkpoint: saves the warm-up now and then. Default: it starts over after an interruption.

    Raises:
        ValueError: when ``base_share`` is no share.
    """

    def __init__(
        self,
        slices: SliceTrainer,
        space: RonasSpace,
        budget: TimeBudget,
        *,
        steps: int,
        until: float = 0.2,
        base_share: float = 0.5,
        seed: int = 0,
        checkpoint: SearchCheckpoint | None = None,
    ) -> None:
        if not (isinstance(base_share, (int, float)) and 0 <= base_share <= 1):
            raise ValueError(f"base_share must be a number from 0 to 1, got {base_share!r}.")
        self.slices = slices
        self.space = space
        self.budget = budget
        self.steps = steps
        self.until = until
        self.base_share = base_share
        self.generator = random.Random(seed)
        self.checkpoint = checkpoint

    def attach(self, engine: Engine) -> None:
        """Run at the start of ``engine`` unless it resumes."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Warm up."""
        ended = self.checkpoint is not None and "final training" in self.checkpoint.interrupted
        if engine.state.epoch > 0 or ended:
            return
        begun = None if self.checkpoint is None else self.checkpoint.interrupted.pop("warm-up", None)
        if begun is not None:
            self.generator.setstate((3, tuple(begun["generator"]), None))
        phase = Phase("warm-up", self.slices, self.budget, steps=self.steps, until=self.until, begun=begun)
        order = self.order(done=self.slices.steps - int(phase.state_dict()["first_step"]))

        def save() -> None:
            if self.checkpoint is not None:
                state = {**phase.state_dict(), "generator": list(self.generator.getstate()[1])}
                self.checkpoint.save_within(engine, "warm-up", state)

        self.slices.run(lambda: next(order), phase=phase, shared=self.base_share < 1, between=save)
        if self.base_share == 1:
            self.slices.keep_base_start()

    def order(self, *, done: int = 0) -> Iterator[Architecture]:
        """The architectures to train, one a step, without end, behind the steps that are ``done``."""
        yield from [self.space.largest, self.space.base][done:]
        while True:
            if self.generator.random() < self.base_share:
                yield self.space.base
            else:
                yield self.space.sample(self.generator)

# SPDX-License-Identifier: Apache-2.0
"""Training of an episode's children on the shared weights."""

from __future__ import annotations

import math

from ignite.engine import Engine

from monai_ronas.engines import ControllerTrainer, EpisodeEvents, SliceTrainer
from monai_ronas.space import RonasSpace
from monai_ronas.utils import TimeBudget


class ChildTraining:
    """Give each child of an episode a slice of training of its own, and measure what it brought.

    A score on whole volumes says nothing of the patch. Where the space leaves training decisions open, each child is
    therefore scored right before and right after its slice, and the difference, its training gain, is what those
    decisions are credited with. Slices cost the same whatever the patch
    (see :class:`~monai_ronas.engines.PatchBatch`). Children whose turn comes when the time of the episodes is up leave
    the episode, but for the first.

    Args:
        slices: trains the shared weights.
        space: the architectures.
        budget: the time budget. Default: no limit.
        until: share of it at which the episodes end.
    """

    def __init__(
        self, slices: SliceTrainer, space: RonasSpace, budget: TimeBudget | None = None, *, until: float = 1.0
    ) -> None:
        self.slices = slices
        self.budget = budget or TimeBudget(None)
        self.until = until
        self.measure = any(d.kind == "training" and len(d) > 1 for d in space)

    def attach(self, engine: Engine) -> None:
        """Run when the children of an episode are sampled."""
        engine.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, self)

    def __call__(self, engine: ControllerTrainer) -> None:
        """Train the children in turn; sets ``engine.state.training_gain``."""
        gains: list[float] = []
        end = self.budget.until(self.until)
        for child in engine.state.children:
            if gains and end is not None and self.budget.elapsed() > end:
                engine.keep_children(len(gains))
                break
            before = engine.scorer.score(child).reward if self.measure else math.nan
            self.slices.run(lambda c=child: c, shared=True)  # type: ignore[misc]
            too_large = getattr(self.slices.trainer.state, "out_of_memory", False)
            if too_large:
                engine.state.out_of_memory.add(child)
            after = engine.scorer.score(child).reward if self.measure and not too_large else math.nan
            gains.append(after - before)
        engine.state.training_gain = gains if self.measure else None

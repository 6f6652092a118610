# SPDX-License-Identifier: Apache-2.0
"""Training of an episode's children on the shared weights."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer, EpisodeEvents, LocalSlices, SliceTrainer
from monai_ronas.utils import TimeBudget


class ChildTraining:
    """Give each child of an episode a slice of training of its own, right before it is scored.

    Its score then tells of all that it chose, the patch included. Slices cost the same whatever the architecture
    (see :class:`~monai_ronas.engines.PatchBatch`). Children whose turn comes when the time of the episodes is up leave
    the episode, but for the first.

    Children of a round (:attr:`~monai_ronas.engines.EpisodeEvents.ROUND_STARTED`), one a process, have a slice each
    from the same weights, which then go on from the mean of what the children have moved
    (:class:`~monai_ronas.engines.LocalSlices`). A child is scored before that, so that all it chose earns its credit.

    Args:
        slices: trains the shared weights.
        budget: the time budget. Default: no limit.
        until: share of it at which the episodes end.
    """

    def __init__(self, slices: SliceTrainer, budget: TimeBudget | None = None, *, until: float = 1.0) -> None:
        self.slices = slices
        self.budget = budget or TimeBudget(None)
        self.until = until
        self._local = LocalSlices(slices)

    def attach(self, engine: Engine) -> None:
        """Train when it is a child's turn, and look at the clock when it, or all of its round, have been scored."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.budget.enter("episodes"))
        engine.add_event_handler(EpisodeEvents.ROUND_STARTED, lambda: self._local.begin())
        engine.add_event_handler(EpisodeEvents.CHILD_SELECTED, self)
        engine.add_event_handler(EpisodeEvents.ROUND_COMPLETED, lambda: self._local.join())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.end_in_time)

    def __call__(self, engine: ControllerTrainer) -> None:
        """Train the child for a slice; sets ``engine.state.out_of_memory`` where the memory did not suffice."""
        child = engine.state.architecture
        if self._local.has_begun:
            self._local.enter(engine.state.position)
        self.slices.run(lambda: child)
        if self._local.has_begun:
            self._local.leave()
        engine.state.out_of_memory = getattr(self.slices.trainer.state, "out_of_memory", False)

    def end_in_time(self, engine: ControllerTrainer) -> None:
        """End the episode where the time is up."""
        end = self.budget.until(self.until)
        if end is not None and self.budget.elapsed() > end:
            engine.end_episode()

# SPDX-License-Identifier: Apache-2.0
"""Training of an episode's children on the shared weights."""

from __future__ import annotations

from ignite.engine import Engine, Events

from monai_ronas.engines import ControllerTrainer, EpisodeEvents, SliceTrainer
from monai_ronas.utils import TimeBudget


class ChildTraining:
    """Give each child of an episode a slice of training of its own, right before it is scored.

    Its score then tells of all that it chose, the patch included. Slices cost the same whatever the architecture
    (see :class:`~monai_ronas.engines.PatchBatch`). Children whose turn comes when the time of the episodes is up leave
    the episode, but for the first.

    In many processes all share each step of a child and deal the cases of its score, whereas the contenders of the race
    are dealt themselves. Children a process each would start from the same weights, and in the mean of their gradients
    what a child chose for its own training would hardly count: it would earn no credit for it. The benchmark
    ``tests/benchmarks/ranks.py`` tells what that costs: nothing up to four processes.

    Args:
        slices: trains the shared weights.
        budget: the time budget. Default: no limit.
        until: share of it at which the episodes end.
    """

    def __init__(self, slices: SliceTrainer, budget: TimeBudget | None = None, *, until: float = 1.0) -> None:
        self.slices = slices
        self.budget = budget or TimeBudget(None)
        self.until = until

    def attach(self, engine: Engine) -> None:
        """Train when it is a child's turn, and look at the clock when it has been scored."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.budget.enter("episodes"))
        engine.add_event_handler(EpisodeEvents.CHILD_SELECTED, self)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.end_in_time)

    def __call__(self, engine: ControllerTrainer) -> None:
        """Train the child for a slice; sets ``engine.state.out_of_memory`` where the memory did not suffice."""
        child = engine.state.architecture
        self.slices.run(lambda: child)
        engine.state.out_of_memory = getattr(self.slices.trainer.state, "out_of_memory", False)

    def end_in_time(self, engine: ControllerTrainer) -> None:
        """End the episode where the time is up."""
        end = self.budget.until(self.until)
        if end is not None and self.budget.elapsed() > end:
            engine.end_episode()

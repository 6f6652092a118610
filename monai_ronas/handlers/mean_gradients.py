# SPDX-License-Identifier: Apache-2.0
"""Training steps that many processes share."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, SupervisedTrainer

from monai_ronas.utils.collectives import average_gradients, take_from_main
from monai_ronas.utils.ranks import OutOfMemoryElsewhere, agree_any


class MeanGradients:
    """Data-parallel steps: every rank has crops of its own, and all move their weights by the mean of their gradients.

    What no rank's network used has no gradient. Weights, and the states of the sources of randomness, are those of
    rank 0 at the start of every slice that all share, so that no difference between processors can grow. Where the
    memory of one rank does not suffice, all leave the step: list it in the trainer's handlers, ahead of
    :class:`~monai_ronas.handlers.FiniteSteps`, which then sees the same on all ranks, and have the steps made by
    :class:`~monai_ronas.engines.GuardedStep`. In a single process, and in one that works apart from the others, it does
    nothing.

    The loss of a step is the mean of those of the ranks, as with torch's ``DistributedDataParallel``. A Dice over a
    whole batch is thus one over the crops of a rank.

    Raises:
        OutOfMemoryElsewhere: in a step for which another rank's memory did not suffice.
        RankError: when another rank has ended.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Share the steps of ``engine``, a stock trainer."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def begin(self, engine: Engine) -> None:
        """Begin with the weights and the random states of rank 0."""
        trainer: Any = engine
        agree_any(False)  # on the clock
        take_from_main(weight for weight in trainer.network.state_dict().values() if weight.is_floating_point())
        random = torch.get_rng_state()
        take_from_main([random])
        torch.set_rng_state(random)
        generator = getattr(trainer.prepare_batch, "generator", None)
        if generator is not None:
            state = generator.get_state()
            take_from_main([state])
            generator.set_state(state)

    def __call__(self, engine: Engine) -> None:
        """After the backward pass: the mean of the gradients, or none where a rank has none for want of memory."""
        trainer: Any = engine
        if agree_any(False):
            raise OutOfMemoryElsewhere("the memory of another rank did not suffice")
        trainer.state.gradients_are_common = True
        average_gradients(trainer.network.parameters())

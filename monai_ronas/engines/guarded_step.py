# SPDX-License-Identifier: Apache-2.0
"""A training step that survives a lack of memory."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.utils.enums import CommonKeys

from monai_ronas.engines.patch_batch import PatchBatch
from monai_ronas.errors import SettingError
from monai_ronas.utils import TrainingError, is_out_of_memory
from monai_ronas.utils.ranks import OutOfMemoryElsewhere, agree_any, number_of_ranks

logger = logging.getLogger(__name__)


class GuardedStep:
    """The step of a stock :class:`~monai.engines.SupervisedTrainer`, tried again with fewer crops for want of memory.

    For the trainer's ``iteration_update``. The estimates of memory of the trainer's
    :class:`~monai_ronas.engines.PatchBatch` are corrected, so that such a batch is not made again, and where a single
    crop is too much, such an architecture is not sampled again, and a base network goes on with a smaller patch. That
    step is left out: its loss is NaN, no weight moves and ``engine.state.out_of_memory`` is true.

    In many processes that share a step, a lack of memory on one is one on all: see
    :class:`~monai_ronas.handlers.MeanGradients`.

    Raises:
        TrainingError: when the base network does not fit with a single crop of any patch.
        SettingError: in many processes, where the memory of one does not suffice for what comes after the gradients.
    """

    def __call__(self, engine: SupervisedTrainer, batchdata: Any) -> dict[str, Any]:
        """Make a step; see :meth:`monai.engines.SupervisedTrainer._iteration`."""
        batches = engine.prepare_batch
        if not isinstance(batches, PatchBatch):
            raise TypeError(
                f"GuardedStep needs a trainer whose prepare_batch is a PatchBatch, received {type(batches)}."
            )
        engine.state.out_of_memory = False
        while True:
            architecture = batches.network.architecture
            crops = batches.crops(architecture)
            engine.state.gradients_are_common = False
            try:
                return engine._iteration(engine, batchdata)
            except OutOfMemoryElsewhere:
                pass
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if engine.state.gradients_are_common and number_of_ranks() > 1:
                    raise SettingError(
                        "out of memory while the weights were updated: give a smaller memory_budget_gb."
                    ) from error
                agree_any(True)
            # outside of the handler, where the traceback no longer holds the step's tensors
            engine.state.output = None
            engine.optimizer.zero_grad(set_to_none=True)
            if engine.scaler is not None:
                with contextlib.suppress(AssertionError):  # where the step broke off before gradients were unscaled
                    engine.scaler.update()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            logger.warning("out of memory with %d crop(s) of %s", crops, architecture.id)
            batches.learn_limit(architecture, crops=crops)
            space = batches.resources.space
            if not any(batches.resources.fits(a) for a in space.with_every_patch(space.base)):
                raise TrainingError(
                    "the base network does not fit into the memory with a single crop of any patch: give fewer "
                    "channels or, with space#overrides, smaller patches."
                )
            if crops == 1:
                engine.state.out_of_memory = True
                return {CommonKeys.LOSS: torch.tensor(float("nan"))}

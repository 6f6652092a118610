# SPDX-License-Identifier: Apache-2.0
"""Slices of training, on the shared weights or on those of one network, run by a stock trainer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch.utils.data import DataLoader, RandomSampler

from monai_ronas.engines.patch_batch import PatchBatch
from monai_ronas.engines.phase import Phase
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.optimizers import keep_unused
from monai_ronas.space import Architecture
from monai_ronas.utils.collectives import least
from monai_ronas.utils.ranks import meet


class SliceTrainer:
    """Runs a :class:`monai.engines.SupervisedTrainer` a few steps at a time, each step with a chosen architecture.

    An epoch of the trainer is one slice. The trainer's counters run on over all slices, its handlers see one long
    training. The optimiser's own learning rates are the full ones; a ramp and the final decay scale them.

    Where the trainer has ``amp``, losses are scaled; the scale goes on from slice to slice.

    Args:
        trainer: the stock trainer of the supernet, before its first step; ``epoch_length`` is the length of a slice in
            steps.
        network: the supernet.
        ramp_steps: steps over which the learning rate rises linearly at the very start.
    """

    def __init__(
        self,
        trainer: SupervisedTrainer,
        network: RonasSuperNet,
        *,
        ramp_steps: int = 50,
    ) -> None:
        self.trainer = trainer
        self.network = network
        self.ramp_steps = ramp_steps
        self.phase: Phase | None = None
        self._choose: Callable[[], Architecture] = lambda: network.space.base
        self._decay = False
        keep_unused(trainer.optimizer)
        for group in trainer.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._new_optimizer = copy.deepcopy(trainer.optimizer.state_dict())
        self.scaler = torch.amp.GradScaler(trainer.state.device.type) if trainer.amp else None
        self._new_scale = self._scale()
        trainer.add_event_handler(Events.STARTED, self._keep_scaler)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._before_step)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._end_in_time)

    @property
    def slice_steps(self) -> int:
        """Steps in a slice."""
        return int(self.trainer.state.epoch_length)

    @property
    def steps(self) -> int:
        """Steps made so far."""
        return int(self.trainer.state.iteration)

    @property
    def memory_gb(self) -> float | None:
        """Memory in GiB that a batch may need, as a lack of it has lowered it so far; None without a limit."""
        batches = self.trainer.prepare_batch
        return batches.resources.memory_gb if isinstance(batches, PatchBatch) else None

    def _before_step(self, engine: Engine) -> None:
        meet()
        self.network.select(self._choose())
        ramp = min(1.0, engine.state.iteration / max(self.ramp_steps, 1))
        factor = self.phase.cosine() if self._decay and self.phase is not None else 1.0
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * ramp * factor

    def _end_in_time(self, engine: Engine) -> None:
        """End the last slice with the time: a step after it would have a learning rate of 0."""
        if self._decay and self.phase is not None and self.phase.is_timed and self.phase.done():
            engine.terminate_epoch()

    def run(
        self,
        choose: Callable[[], Architecture],
        *,
        phase: Phase | None = None,
        decay: bool = False,
        between: Callable[[], None] | None = None,
    ) -> None:
        """Train on: one slice, or slices until the end of a phase (at least one step).

        Args:
            choose: called before every step for the architecture to train.
            phase: how long to train. Default: one slice.
            decay: let the learning rate fall to 0 over the phase, as a cosine. Under a time budget such a phase
                ends within a slice.
            between: called after every slice but the last, such as for a checkpoint.
        """
        self._choose, self._decay, self.phase = choose, decay, phase
        done = False
        try:
            while not done:
                self.trainer.state.max_epochs = self.trainer.state.epoch + 1
                self.trainer._init_iter = 0  # Ignite would shorten the slice by the steps of one that was not whole
                self.trainer.run()
                done = phase is None or phase.done()
                if between is not None and not done:
                    between()
        finally:
            self.phase = None
            self.trainer._internal_run_generator = None  # Ignite would end the next run where this one broke off

    def _scale(self) -> dict[str, Any]:
        """State of the loss scaling; empty where losses are not scaled."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def _set_scale(self, state: dict[str, Any]) -> None:
        if state and self.scaler is not None:  # the state of a device of another precision has none
            self.scaler.load_state_dict(state)

    def _keep_scaler(self, engine: SupervisedTrainer) -> None:
        engine.scaler = self.scaler  # type: ignore[assignment]  # MONAI's trainer makes a new one for each run

    def draw_from(self, number: int) -> None:
        """Draw the training cases from the first ``number`` cases of the data set from now on."""
        loader = cast(DataLoader, self.trainer.data_loader)
        cast(RandomSampler, loader.sampler).data_source = range(number)

    def start_anew(self, weights: dict[str, torch.Tensor], *, seed: int) -> None:
        """Begin a training: no steps, no moments, and the learning rates and the loss scale of the very start.

        Args:
            weights: those of a derived network.
            seed: of the crops.
        """
        self.network.take(weights)
        self.trainer.optimizer.load_state_dict(copy.deepcopy(self._new_optimizer))
        self._set_scale(self._new_scale)
        self.trainer.state.iteration = 0
        self.trainer.state.skipped_in_a_row = self.trainer.state.finite_steps = self.trainer.state.restored = 0
        generator = getattr(self.trainer.prepare_batch, "generator", None)
        if generator is not None:
            generator.manual_seed(seed)

    def share_limit(self) -> None:
        """Let the limit of memory that one process has learnt hold in all."""
        batches = self.trainer.prepare_batch
        if isinstance(batches, PatchBatch):
            limit = least(math.inf if self.memory_gb is None else self.memory_gb)
            if math.isfinite(limit):
                batches.lower_limit(limit)

    def state_dict(self) -> dict[str, object]:
        """Weights, optimiser, loss scale and counters, as tensors and plain types."""
        return {
            "memory_gb": self.memory_gb,
            "network": self.network.state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "scaler": self._scale(),
            "iteration": self.trainer.state.iteration,
            "epoch": self.trainer.state.epoch,
            "restored": getattr(self.trainer.state, "restored", 0),
            "generator": getattr(self.trainer.prepare_batch, "generator", torch.Generator()).get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Inverse of :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.trainer.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # or it would train the given tensors
        self._set_scale(state.get("scaler", {}))
        self.trainer.state.iteration = state["iteration"]
        self.trainer.state.epoch = state["epoch"]
        self.trainer.state.restored = state["restored"]
        self.trainer.state.skipped_in_a_row = self.trainer.state.finite_steps = 0  # those were steps of other weights
        batches = self.trainer.prepare_batch
        if isinstance(batches, PatchBatch) and state["memory_gb"] is not None:
            batches.lower_limit(state["memory_gb"])
        generator = getattr(self.trainer.prepare_batch, "generator", None)
        if generator is not None:
            generator.set_state(state["generator"])

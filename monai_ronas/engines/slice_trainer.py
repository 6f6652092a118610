# SPDX-License-Identifier: Apache-2.0
"""Slices of training on the shared weights, run by a stock trainer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture


class SliceTrainer:
    """Runs a :class:`monai.engines.SupervisedTrainer` a few steps at a time, each step with a chosen architecture.

    An epoch of the trainer is one slice. The trainer's counters run on over all slices, its handlers see one long
    training.

    Args:
        trainer: the stock trainer of the supernet; ``epoch_length`` is the length of a slice in steps.
        network: the supernet.
        learning_rate: learning rate outside the final decay.
        ramp_steps: steps over which the learning rate rises linearly at the very start.
    """

    def __init__(
        self,
        trainer: SupervisedTrainer,
        network: RonasSuperNet,
        *,
        learning_rate: float = 1e-3,
        ramp_steps: int = 50,
    ) -> None:
        self.trainer = trainer
        self.network = network
        self.learning_rate = learning_rate
        self.ramp_steps = ramp_steps
        self._choose: Callable[[], Architecture] = lambda: network.space.base
        self._factor: Callable[[], float] = lambda: 1.0
        trainer.add_event_handler(Events.ITERATION_STARTED, self._before_step)

    @property
    def slice_steps(self) -> int:
        """Steps in a slice."""
        return int(self.trainer.state.epoch_length)

    @property
    def steps(self) -> int:
        """Steps made so far."""
        return int(self.trainer.state.iteration)

    def _before_step(self, engine: Engine) -> None:
        self.network.select(self._choose())
        ramp = min(1.0, engine.state.iteration / max(self.ramp_steps, 1))
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = self.learning_rate * ramp * self._factor()

    def run(
        self,
        choose: Callable[[], Architecture],
        *,
        slices: int | None = None,
        stop: Callable[[], bool] | None = None,
        factor: Callable[[], float] | None = None,
    ) -> None:
        """Train on, at least one slice.

        Args:
            choose: called before every step for the architecture to train.
            slices: how many slices at the most. Default: until ``stop`` says so.
            stop: asked after every slice whether to end.
            factor: called before every step for the factor of the learning rate. Default: 1.

        Raises:
            ValueError: when neither ``slices`` nor ``stop`` is given.
        """
        if slices is None and stop is None:
            raise ValueError("either slices or stop must be given, or training would not end.")
        self._choose = choose
        self._factor = factor or (lambda: 1.0)
        done = 0
        while slices is None or done < slices:
            self.trainer.state.max_epochs = self.trainer.state.epoch + 1
            self.trainer.run()
            done += 1
            if stop is not None and stop():
                return

    def state_dict(self) -> dict[str, object]:
        """Weights, optimiser and counters, as tensors and plain types."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "iteration": self.trainer.state.iteration,
            "epoch": self.trainer.state.epoch,
            "generator": getattr(self.trainer.prepare_batch, "generator", torch.Generator()).get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Inverse of :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        self.trainer.state.iteration = state["iteration"]
        self.trainer.state.epoch = state["epoch"]
        generator = getattr(self.trainer.prepare_batch, "generator", None)
        if generator is not None:
            generator.set_state(state["generator"])

# SPDX-License-Identifier: Apache-2.0
"""Training steps whose loss or gradient is not finite."""

from __future__ import annotations

import logging
import math

import torch
from ignite.engine import Events
from monai.engines import IterationEvents
from monai.engines.trainer import SupervisedTrainer

from monai_ronas.utils import TrainingError
from monai_ronas.utils.collectives import mean

logger = logging.getLogger(__name__)


class FiniteSteps:
    """Leave out the steps of a trainer whose loss or gradient is not finite, and go back where they do not cease.

    Without a gradient an optimiser moves nothing, so that such a step changes neither weights nor moments. After
    ``patience`` of them in a row, older weights come back, the optimiser starts anew, and its learning rates are
    halved. The trainer had these weights at a start in order, ``patience`` finite steps or more before the last one
    that was copied, as the last finite step may be what has spoilt the weights; or it began with them.

    ``engine.state.skipped_steps`` counts the steps left out, ``engine.state.skipped_in_a_row`` those since the last
    finite one, ``engine.state.finite_steps`` the finite ones since the trainer has had weights from elsewhere, and
    ``engine.state.restored`` how often the weights came back. The trainer's optimiser must have been told to set
    gradients to ``None`` (``optim_set_to_none``). In many processes that share a step, the mean of their losses
    decides.

    Where the trainer scales its losses (``amp`` of MONAI's trainers, for float16), gradients are looked at without the
    scale. A gradient that is too large for float16 with it makes the trainer halve the scale; only below a scale of 1
    is that a step that counts in the row.

    Args:
        patience: steps in a row that are left out before the weights come back.
        restores: how often they come back before the training is given up.

    Raises:
        TrainingError: when the training is given up.
    """

    def __init__(self, *, patience: int = 10, restores: int = 3) -> None:
        self.patience = patience
        self.restores = restores
        self._older: dict[str, torch.Tensor] = {}
        self._newer: dict[str, torch.Tensor] = {}
        self._copied = 0  # finite steps when the newer ones were copied

    def attach(self, engine: SupervisedTrainer) -> None:
        """Watch the steps of ``engine``, a stock trainer."""
        engine.state.skipped_steps = 0
        engine.state.skipped_in_a_row = 0
        engine.state.restored = 0
        engine.state.finite_steps = 0
        engine.add_event_handler(Events.STARTED, self._keep)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def _keep(self, engine: SupervisedTrainer) -> None:
        steps = engine.state.finite_steps
        if engine.state.skipped_in_a_row or 0 < steps < self._copied + self.patience:
            return
        older = self._newer
        self._newer = {name: weight.detach().clone() for name, weight in engine.network.state_dict().items()}
        self._older, self._copied = older if steps and older else self._newer, steps

    def __call__(self, engine: SupervisedTrainer) -> None:
        """After the backward pass: leave the step out where it is not finite."""
        scaler = engine.scaler
        if scaler is not None:
            scaler.unscale_(engine.optimizer)
        total = torch.nn.utils.clip_grad_norm_(engine.network.parameters(), math.inf)  # clips nothing, tells the norm
        loss = engine.state.output["loss"].detach().reshape(()).to(total)
        loss, norm = torch.stack((loss, total)).tolist()  # one wait for a GPU
        loss = mean(loss)
        if math.isfinite(loss) and math.isfinite(norm):
            engine.state.skipped_in_a_row = 0
            engine.state.finite_steps += 1
            return
        engine.optimizer.zero_grad(set_to_none=True)
        engine.state.skipped_steps += 1
        if scaler is not None and math.isfinite(loss) and scaler.get_scale() >= 1:
            logger.info("step %d left out: its loss scale %g is halved", engine.state.iteration, scaler.get_scale())
            return
        engine.state.skipped_in_a_row += 1
        logger.warning("step %d left out: loss %g or its gradient is not finite", engine.state.iteration, loss)
        if engine.state.skipped_in_a_row >= self.patience:
            self._go_back(engine)

    def _go_back(self, engine: SupervisedTrainer) -> None:
        if engine.state.restored >= self.restores:
            raise TrainingError(
                f"the loss has not been finite for {self.patience} steps in a row, {self.restores + 1} times: give a "
                "smaller learning_rate or amp=false, and look at the intensities in dataset_report.json."
            )
        engine.state.restored += 1
        engine.state.skipped_in_a_row = engine.state.finite_steps = 0
        self._newer, self._copied = self._older, 0
        engine.network.load_state_dict(self._older)
        engine.optimizer.state.clear()
        for group in engine.optimizer.param_groups:
            for rate in ("lr", "initial_lr"):
                if rate in group:
                    group[rate] *= 0.5
        logger.warning("%d steps in a row left out: older weights, half the learning rate", self.patience)

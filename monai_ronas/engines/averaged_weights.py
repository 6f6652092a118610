# SPDX-License-Identifier: Apache-2.0
"""Weights averaged over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

_LAST = 8  # the average reaches back over about one part in so many of the steps


class AveragedWeights:
    """A running average of a network's weights that forgets the beginning.

    The weights of step ``t`` count with ``9 / (t + 8)``: polynomial-decay averaging (Shamir and Zhang, ICML 2013). It
    shows, at any time and without an end in view, about what a falling learning rate would lead to.

    Args:
        network: whose weights are averaged.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._model: AveragedModel | None = None

    def start(self) -> None:
        """Begin anew with the network's next weights."""
        self._model = AveragedModel(self.network, avg_fn=_average)

    def stop(self) -> None:
        """Average no longer."""
        self._model = None

    def update(self) -> None:
        """Take note of the network's present weights."""
        if self._model is not None:
            self._model.update_parameters(self.network)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The network has the averaged weights for a while."""
        if self._model is None:
            yield
            return
        own = {name: weight.detach().clone() for name, weight in self.network.state_dict().items()}
        self.network.load_state_dict(self._model.module.state_dict())
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Tensors."""
        return {} if self._model is None else dict(self._model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.stop()
        if state:
            self.start()
            assert self._model is not None
            self._model.load_state_dict(state)


def _average(average: torch.Tensor, weight: torch.Tensor, number: torch.Tensor | int) -> torch.Tensor:
    return average + (weight - average) * ((_LAST + 1) / (number + 1 + _LAST))


def on_cpu(state: Any) -> Any:
    """A copy of nested dictionaries and lists with all tensors on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(on_cpu(value) for value in state)
    return state

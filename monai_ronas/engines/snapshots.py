# SPDX-License-Identifier: Apache-2.0
"""Weights on the way through the final training, the members of an ensemble that costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from ignite.engine import Events

from monai_ronas.engines.phase import Phase
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.errors import SettingError

Weights = dict[str, torch.Tensor]


class Snapshots:
    """Keep the weights that the selected network has at fixed shares of a stretch of training.

    They are kept on the CPU in half precision, without the heads of deep supervision: a member takes half of the size
    of the bundle's ``model.pt``. The training itself is not touched.

    Args:
        slices: trains the weights.
        shares: of the stretch, rising; each lies between 0 and 1. Without any, nothing is kept.

    Raises:
        SettingError: when a share is out of place.
    """

    def __init__(self, slices: SliceTrainer, *, shares: Sequence[float] = (0.67, 0.78, 0.89)) -> None:
        rising = [0.0, *shares, 1.0]
        if any(not a < b for a, b in pairwise(rising)):
            raise SettingError(f"shares must rise between 0 and 1, received {list(shares)}.")
        self.slices = slices
        self.shares = tuple(shares)
        self._phase: Phase | None = None
        self._taken: dict[int, Weights] = {}  # by number of the share
        slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._look)

    @property
    def members(self) -> tuple[Weights, ...]:
        """The weights kept so far, oldest first."""
        return tuple(self._taken[number] for number in sorted(self._taken))

    def follow(self, phase: Phase, begun: Mapping[str, Any] | None = None) -> None:
        """Keep the weights of a stretch that begins or, after an interruption, goes on.

        Args:
            phase: the stretch.
            begun: :meth:`state_dict` before the interruption. Of a stretch that has become longer since then, those
                are left out whose share has not come yet; they are taken anew.
        """
        self._phase = phase
        due = self._due()
        self._taken = {int(number): weights for number, weights in (begun or {}).items() if int(number) < due}

    def stop(self) -> None:
        """Keep no more."""
        self._phase = None

    def state_dict(self) -> dict[int, Weights]:
        """The weights by the number of their share; they do not change any more."""
        return dict(self._taken)

    def _due(self) -> int:
        """How many shares have come."""
        return 0 if self._phase is None else sum(share <= self._phase.progress for share in self.shares)

    def _look(self) -> None:
        last = self._due() - 1
        if last > max(self._taken, default=-1):  # where a step passes several shares, the last one has its weights
            network = self.slices.network
            weights = network.derive(network.architecture, deep_supervision=False).state_dict()
            self._taken[last] = {name: weight.detach().to("cpu", torch.float16) for name, weight in weights.items()}

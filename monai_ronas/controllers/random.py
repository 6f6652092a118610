# SPDX-License-Identifier: Apache-2.0
"""The control: every feasible option equally likely, for ever."""

from __future__ import annotations

import torch

from monai_ronas.controllers.base import Controller
from monai_ronas.space import SearchSpace


class RandomController(Controller):
    """Uniform choice with the interface of the LSTM policy; it has no weights and learns nothing.

    Args:
        space: the decisions.

    Example:
        >>> from monai_ronas.space import Decision
        >>> controller = RandomController(SearchSpace([Decision("width", [1, 2, 4])]))
        >>> controller.log_probs(torch.zeros(1, 1, dtype=torch.long))[0].exp()
        tensor([[0.3333, 0.3333, 0.3333]])
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)

    def step_logits(self, indices: torch.Tensor) -> list[torch.Tensor]:
        """Zeros."""
        known = min(indices.shape[1] + 1, len(self.space))
        return [torch.zeros(len(indices), n) for n in self.option_counts()[:known]]

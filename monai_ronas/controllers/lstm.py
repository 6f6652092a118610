# SPDX-License-Identifier: Apache-2.0
"""The LSTM policy."""

from __future__ import annotations

import torch
from torch import nn

from monai_ronas.controllers.base import Controller
from monai_ronas.space import SearchSpace


class LSTMController(Controller):
    """An LSTM that decides one variable after the other, each fed with the choice before it (as in ENAS).

    Logits are not squashed, so that the policy can become as confident as its rewards warrant. The output layers start
    at zero: before the first update every option is equally likely.

    Args:
        space: the decisions.
        hidden_size: width of the LSTM and of the embeddings.
        seed: seed of the initial weights.

    Example:
        >>> from monai_ronas.space import Decision
        >>> policy = LSTMController(SearchSpace([Decision("a", [1, 2]), Decision("b", [1, 2, 3])]))
        >>> policy.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2])
    """

    def __init__(self, space: SearchSpace, *, hidden_size: int = 100, seed: int = 0) -> None:
        super().__init__(space)
        counts = self.option_counts()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.start = nn.Parameter(torch.zeros(1, hidden_size))
            self.embeddings = nn.ModuleList(nn.Embedding(n, hidden_size) for n in counts[:-1])
            self.lstm = nn.LSTM(hidden_size, hidden_size, batch_first=True)
            heads = [nn.Linear(hidden_size, n) for n in counts]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.heads = nn.ModuleList(heads)

    def step_logits(self, indices: torch.Tensor) -> list[torch.Tensor]:
        """See :meth:`Controller.step_logits`; one pass of the LSTM over the whole batch."""
        steps = [self.start.expand(len(indices), -1)]
        steps += [e(indices[:, t]) for t, e in enumerate(self.embeddings) if t < indices.shape[1]]
        hidden, _ = self.lstm(torch.stack(steps, dim=1))
        return [head(hidden[:, t]) for t, head in enumerate(self.heads) if t < hidden.shape[1]]

# SPDX-License-Identifier: Apache-2.0
"""What every controller can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn

from monai_ronas.space import SearchSpace


class Controller(nn.Module, ABC):
    """A policy over the decisions of a search space.

    Decisions are handled as option indices, ``(N, T)`` for ``N`` children and ``T`` decisions, on the CPU.

    Args:
        space: the decisions; its masks decide which options may be sampled.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def step_logits(self, indices: torch.Tensor) -> list[torch.Tensor]:
        """Logits of every decision given the decisions before it.

        Args:
            indices: ``(N, T')`` option indices of the first ``T'`` decisions.

        Returns:
            ``T' + 1`` tensors (``T`` at most), the logits of decision ``t`` as ``(N, number of options)``.
        """

    def masks(self, indices: torch.Tensor) -> list[torch.Tensor]:
        """What the space allows at every decision of some children, ``(N, options)`` each.

        Args:
            indices: ``(N, T)`` option indices.
        """
        rows = indices.tolist()
        return [torch.tensor([self.space.mask(row[:t]) for row in rows]) for t in range(len(self.space))]

    def log_probs(self, indices: torch.Tensor, masks: Sequence[torch.Tensor] | None = None) -> list[torch.Tensor]:
        """Log-probabilities of all options of every decision, ``(N, options)`` each; infeasible options have ``-inf``.

        Args:
            indices: ``(N, T)`` option indices; decision ``t`` is conditioned on the columns before ``t``.
            masks: what :meth:`masks` gave when the children were sampled; a space may have learnt a limit since.
                Default: what it gives now.
        """
        allowed = self.masks(indices) if masks is None else masks
        steps = self.step_logits(indices)[: len(self.space)]
        return [
            logits.masked_fill(~mask, -torch.inf).log_softmax(dim=-1)
            for logits, mask in zip(steps, allowed, strict=True)
        ]

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw ``count`` children.

        Args:
            count: number of children.
            generator: source of randomness.

        Returns:
            ``(count, T)`` option indices.
        """
        return self._unroll(count, lambda p: torch.multinomial(p, 1, generator=generator))

    def mode(self) -> torch.Tensor:
        """The most probable option of each decision in turn, ``(1, T)`` option indices."""
        return self._unroll(1, lambda p: p.argmax(dim=-1, keepdim=True))

    def evaluate(
        self, indices: torch.Tensor, masks: Sequence[torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Recompute, in one batch and with gradients, what was sampled before.

        Args:
            indices: ``(N, T)`` option indices.
            masks: as in :meth:`log_probs`.

        Returns:
            log-probability of each decision and entropy of each decision's distribution (nats), both ``(N, T)``.
        """
        chosen, entropy = [], []
        for t, log_p in enumerate(self.log_probs(indices, masks)):
            chosen.append(log_p.gather(1, indices[:, t : t + 1]).squeeze(1))
            entropy.append(-(log_p.exp() * log_p.masked_fill(log_p.isinf(), 0.0)).sum(dim=-1))
        return torch.stack(chosen, dim=1), torch.stack(entropy, dim=1)

    @torch.no_grad()
    def _unroll(self, count: int, choose: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        indices = torch.zeros(count, 0, dtype=torch.long)
        for t in range(len(self.space)):
            logits = self.step_logits(indices)[t]
            allowed = torch.tensor([self.space.mask(row) for row in indices.tolist()])
            probability = logits.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
            indices = torch.cat([indices, choose(probability)], dim=1)
        return indices

    def probabilities(self) -> dict[str, list[float]]:
        """Probability of each option along the policy's mode, by decision name: for reports."""
        with torch.no_grad():
            steps = self.log_probs(self.mode())
        return {d.name: p[0].exp().tolist() for d, p in zip(self.space, steps, strict=True)}

    def option_counts(self) -> Sequence[int]:
        """Number of options of each decision."""
        return [len(d) for d in self.space]

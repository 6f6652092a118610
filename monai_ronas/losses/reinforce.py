# SPDX-License-Identifier: Apache-2.0
"""The policy gradient's objective."""

from __future__ import annotations

import torch
from torch import nn

from monai_ronas.errors import SettingError


class ReinforceLoss(nn.Module):
    r"""REINFORCE with an entropy bonus (Williams, 1992):

    .. math:: L = -\frac{1}{N}\sum_n A_n\sum_t \log\pi(a_{nt}) - \beta\,\frac{1}{N}\sum_{n,t} H_{nt}

    Every child has its own advantage.

    Args:
        entropy_weight: the factor beta.

    Example:
        >>> loss = ReinforceLoss(entropy_weight=0.0)
        >>> float(loss(torch.tensor([[-1.0], [-2.0]]), torch.zeros(2, 1), torch.tensor([1.0, -1.0])))
        -0.5
    """  # noqa: D415

    def __init__(self, entropy_weight: float = 1e-4) -> None:
        super().__init__()
        self.entropy_weight = entropy_weight

    def forward(self, log_prob: torch.Tensor, entropy: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        """Objective to minimise.

        Args:
            log_prob: log-probability of each decision taken, ``(N, T)``.
            entropy: entropy of each decision's distribution in nats, ``(N, T)``.
            advantage: how much better than expected each child is, ``(N,)``.

        Returns:
            a scalar.

        Raises:
            SettingError: when the shapes do not match.
        """
        if log_prob.shape != entropy.shape or advantage.shape != log_prob.shape[:1]:
            raise SettingError(
                "log_prob and entropy must have the shape (children, decisions), advantage (children,), received "
                f"{tuple(log_prob.shape)}, {tuple(entropy.shape)} and {tuple(advantage.shape)}."
            )
        policy = -(advantage.detach() * log_prob.sum(dim=1)).mean()
        return policy - self.entropy_weight * entropy.sum(dim=1).mean()

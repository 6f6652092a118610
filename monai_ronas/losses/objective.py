# SPDX-License-Identifier: Apache-2.0
"""What the controller maximises where an architecture's cost counts as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.utils import ChildScore

Cost = Callable[[ChildScore, Mapping[str, Any]], float]


class WeightedProduct:
    r"""Dice times a power of the cost (Tan et al., MnasNet, CVPR 2019, equation 2):

    .. math:: R\,(c / c_0)^w

    With the exponent :math:`w = -0.07`, twice the cost is worth 5 % more Dice.

    Args:
        cost: cost of a scored architecture, positive.
        reference: the cost :math:`c_0` at which the Dice counts as it is.
        exponent: the exponent :math:`w`, at most 0.

    Raises:
        SettingError: when ``reference`` is not positive or ``exponent`` is positive.

    Example:
        >>> objective = WeightedProduct(lambda score, architecture: 2.0, reference=1.0)
        >>> round(objective(ChildScore(0.8, (0.8,), 1.0, 1.0), {}), 3)
        0.762
    """  # noqa: D415

    def __init__(self, cost: Cost, *, reference: float = 1.0, exponent: float = -0.07) -> None:
        numbers = all(isinstance(value, (int, float)) for value in (reference, exponent))
        if not numbers or not reference > 0 or not exponent <= 0:
            raise SettingError(
                f"reference must be positive and exponent at most 0, received {reference!r} and {exponent!r}."
            )
        self.cost = cost
        self.reference = reference
        self.exponent = exponent

    def __call__(self, score: ChildScore, architecture: Mapping[str, Any]) -> float:
        """The objective of a child; NaN for one without a reward."""
        return float(score.reward * (self.cost(score, architecture) / self.reference) ** self.exponent)

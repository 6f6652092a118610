# SPDX-License-Identifier: Apache-2.0
"""The ordered decisions, with their feasibility rule."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.space.architecture import Architecture
from monai_ronas.space.decision import Decision


class SearchSpace:
    """An ordered list of decisions. A subclass adds its feasibility rule by overriding :meth:`allows`.

    Decisions are taken in order. Before each one, :meth:`mask` tells which options can still be completed, so that a
    controller normalises over exactly those and log-probabilities stay exact.

    Args:
        decisions: the variables, in the order in which they are decided.

    Raises:
        SettingError: when there is no decision or a name occurs twice.

    Example:
        >>> space = SearchSpace([Decision("a", [1, 2]), Decision("b", ["x", "y", "z"])])
        >>> space.cardinality, space.decode([1, 0]).to_dict()
        (6, {'a': 2, 'b': 'x'})
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        names = [d.name for d in decisions]
        if not names:
            raise SettingError("a search space needs at least one decision.")
        if len(set(names)) != len(names):
            raise SettingError(f"decision names must be unique, received {names}.")
        self.decisions = tuple(decisions)

    def __len__(self) -> int:
        return len(self.decisions)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    def __getitem__(self, name: str) -> Decision:
        for decision in self.decisions:
            if decision.name == name:
                return decision
        raise KeyError(f"the space has no decision {name!r}; it has {[d.name for d in self.decisions]}.")

    @property
    def cardinality(self) -> int:
        """Number of combinations of options (before the feasibility rule)."""
        return math.prod(len(d) for d in self.decisions)

    def allows(self, decided: Mapping[str, Any]) -> bool:
        """Whether the values decided so far can be completed to a feasible architecture. Default: always.

        Args:
            decided: values of the first ``k`` decisions, by name.
        """
        return True

    def mask(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options of the next decision are feasible after the option indices ``prefix``.

        Raises:
            SettingError: when no option is left.
        """
        partial = {d.name: d.options[i] for d, i in zip(self.decisions, prefix, strict=False)}
        decision = self.decisions[len(prefix)]
        mask = tuple(self.allows({**partial, decision.name: option}) for option in decision.options)
        if not any(mask):
            raise SettingError(f"no option of decision {decision.name!r} is feasible after {partial}.")
        return mask

    def decode(self, indices: Sequence[int]) -> Architecture:
        """Option indices, one per decision, to an architecture.

        Raises:
            SettingError: when the number of indices or an index is out of range.
        """
        if len(indices) != len(self.decisions):
            raise SettingError(f"need {len(self.decisions)} indices, one per decision, received {len(indices)}.")
        for decision, index in zip(self.decisions, indices, strict=True):
            if not 0 <= int(index) < len(decision):
                raise SettingError(
                    f"index of {decision.name!r} must be in 0..{len(decision) - 1}, received {int(index)}."
                )
        return Architecture({d.name: d.options[int(i)] for d, i in zip(self.decisions, indices, strict=True)})

    def encode(self, architecture: Mapping[str, Any]) -> tuple[int, ...]:
        """Inverse of :meth:`decode`.

        Raises:
            SettingError: when a decision is missing or a value is no option.
        """
        missing = [d.name for d in self.decisions if d.name not in architecture]
        if missing:
            raise SettingError(f"the architecture lacks the decisions {missing}.")
        return tuple(d.index(architecture[d.name]) for d in self.decisions)

    def is_feasible(self, architecture: Mapping[str, Any]) -> bool:
        """Whether every prefix of the architecture is allowed."""
        partial: dict[str, Any] = {}
        for decision in self.decisions:
            partial[decision.name] = architecture[decision.name]
            if not self.allows(partial):
                return False
        return True

    def sample(self, generator: random.Random) -> Architecture:
        """Draw each decision uniformly from the options that are feasible after the ones before it.

        Args:
            generator: source of randomness; its state alone decides the draw.
        """
        prefix: list[int] = []
        for _ in self.decisions:
            mask = self.mask(prefix)
            prefix.append(generator.choice([i for i, ok in enumerate(mask) if ok]))
        return self.decode(prefix)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return {"decisions": [d.to_dict() for d in self.decisions]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Inverse of :meth:`to_dict`."""
        return cls([Decision(**d) for d in data["decisions"]])

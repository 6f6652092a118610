# SPDX-License-Identifier: Apache-2.0
"""One categorical variable of a search space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_ronas.errors import SettingError

KINDS = ("network", "training")


def freeze(value: Any) -> Any:
    """Turn lists (as JSON gives them) into tuples, recursively, so that an option can be hashed and compared."""
    if isinstance(value, (list, tuple)):
        return tuple(freeze(v) for v in value)
    return value


@dataclass(frozen=True)
class Decision:
    """A categorical variable: a name and its options.

    Args:
        name: key of the decision in an :class:`~monai_ronas.space.Architecture`.
        options: the values to choose from; lists are stored as tuples. Equal options are kept once, in order.
        kind: ``"network"`` if the choice changes the function that the network computes, ``"training"`` if it only
            changes how it is trained (the patch, or the weight of a loss).

    Raises:
        SettingError: when ``options`` is empty or ``kind`` is unknown.

    Example:
        >>> Decision("dilation_2", [1, 2, 3]).options
        (1, 2, 3)
    """

    name: str
    options: tuple[Any, ...]
    kind: str = "network"

    def __init__(self, name: str, options: Sequence[Any], kind: str = "network") -> None:
        frozen = tuple(dict.fromkeys(freeze(o) for o in options))
        if not frozen:
            raise SettingError(f"decision {name!r} needs at least one option, received none.")
        if kind not in KINDS:
            raise SettingError(f"kind of decision {name!r} must be one of {KINDS}, received {kind!r}.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", frozen)
        object.__setattr__(self, "kind", kind)

    def __len__(self) -> int:
        """Number of options."""
        return len(self.options)

    def index(self, value: Any) -> int:
        """Position of ``value`` among the options.

        Raises:
            SettingError: when ``value`` is no option.
        """
        try:
            return self.options.index(freeze(value))
        except ValueError:
            raise SettingError(
                f"{value!r} is not an option of decision {self.name!r}: choose from {list(self.options)}."
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return {"name": self.name, "options": list(self.options), "kind": self.kind}

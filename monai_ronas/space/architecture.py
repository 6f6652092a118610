# SPDX-License-Identifier: Apache-2.0
"""One value per decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from monai_ronas.space.decision import freeze


class Architecture(Mapping[str, Any]):
    """An immutable, hashable choice of one value for each decision of a space.

    Args:
        values: decision names to values; lists are stored as tuples.

    Example:
        >>> a = Architecture({"patch_d": 32, "stride_3": [2, 2, 1]})
        >>> a["stride_3"]
        (2, 2, 1)
        >>> Architecture.from_json(a.to_json()) == a
        True
    """

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {str(k): freeze(v) for k, v in values.items()}
        self._hash = hash(tuple(sorted(self._values.items(), key=lambda kv: kv[0])))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._values == other._values

    def __repr__(self) -> str:
        return f"Architecture({self._values})"

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that depend on the values alone: the same in every process and on every machine."""
        return hashlib.sha256(json.dumps(self._values, sort_keys=True).encode()).hexdigest()[:8]

    def replace(self, **changes: Any) -> Architecture:
        """A copy with some values changed.

        Raises:
            KeyError: when a name is not a decision of this architecture.
        """
        unknown = sorted(set(changes) - set(self._values))
        if unknown:
            raise KeyError(f"unknown decisions {unknown}; the architecture has {sorted(self._values)}.")
        return Architecture({**self._values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON (tuples become lists when written)."""
        return dict(self._values)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self._values)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Inverse of :meth:`to_json`."""
        return cls(json.loads(text))

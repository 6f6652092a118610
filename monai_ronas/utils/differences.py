# SPDX-License-Identifier: Apache-2.0
"""What differs between two records, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 40  # characters of a value that is told


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tell what a record was and is.

    Args:
        then: an earlier record, of JSON's types; mappings in it may be lists of pairs as well.
        now: the present one.

    Returns:
        one phrase for each value of ``now`` that is another, or that ``then`` lacks.

    Example:
        >>> differences({"rate": 0.02, "loss": {"softmax": True}}, {"rate": 0.01, "loss": {"softmax": False}, "a": 0})
        ['rate was 0.02 and is 0.01', 'loss softmax was True and is False', 'a is 0 and was not recorded']
    """
    return list(_told("", then, now))


def _told(name: str, then: Any, now: Any) -> Iterator[str]:
    listed = not isinstance(then, Mapping) and not isinstance(now, Mapping)
    then, now = _mapping(then), _mapping(now)
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key, value in now.items():
            whole = f"{name} {key}".strip()
            if key not in then:
                yield f"{whole} is {_short(value)} and was not recorded"
            else:
                yield from _told(whole, then[key], value)
        for key in then if name else ():  # what is no longer recorded of a whole record tells nothing
            if key not in now:
                yield f"{name} {key} was {_short(then[key])} and is not given"
        if listed and list(then) != list(now) and set(then) == set(now):  # transforms one after the other, for one
            yield f"{name} was in the order {_short(list(then))} and is in the order {_short(list(now))}"
    elif isinstance(then, (list, tuple)) and isinstance(now, (list, tuple)) and len(then) == len(now):
        if list(then) == list(now):
            return
        if len(str(now)) <= _LONGEST and len(str(then)) <= _LONGEST:
            yield f"{name} was {_short(then)} and is {_short(now)}"
            return
        for one, other in zip(then, now, strict=True):
            yield from _told(name, one, other)
    elif then != now:
        yield f"{name} was {_short(then)} and is {_short(now)}"


def _mapping(value: Any) -> Any:
    """A mapping for a list of pairs with a name of its own each."""
    pairs = isinstance(value, (list, tuple)) and value and all(_is_pair(item) for item in value)
    return dict(value) if pairs and len(dict(value)) == len(value) else value


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str)


def _short(value: Any) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

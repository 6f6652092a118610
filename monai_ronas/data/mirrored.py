# SPDX-License-Identifier: Apache-2.0
"""Labels that are mirror images of each other, told by their names, and the flips that follow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
_OTHER = {"left": "right", "right": "left"}
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
LEFT_RIGHT = 0
"""The axis from left to right of volumes in RAS order."""


def mirrored_pairs(labels: Mapping[int, str]) -> list[tuple[str, str]]:
    """Find the labels that differ in ``left`` and ``right`` alone.

    The sides are words of their own, in any case, or ``l``, ``lt``, ``r`` and ``rt``: ``left kidney`` and
    ``right kidney``, ``Kidney_L`` and ``Kidney_R``, ``lung-left`` and ``lung-right``, ``LeftLung`` and ``RightLung``.

    Args:
        labels: label value to name.

    Returns:
        pairs of names, the left one first, in the order of their values.

    Example:
        >>> mirrored_pairs({0: "background", 1: "right kidney", 2: "liver", 3: "left kidney"})
        [('left kidney', 'right kidney')]
    """
    names = {_words(labels[value]): labels[value] for value in sorted(labels)}
    pairs = []
    for words, name in names.items():
        mirrored = tuple(_OTHER.get(word, word) for word in words)
        side = next((word for word in words if word in _OTHER), None)
        if side == "left" and mirrored in names:
            pairs.append((name, names[mirrored]))
    return pairs


def flip_axes(labels: Mapping[int, str]) -> tuple[int, ...]:
    """Axes along which a volume may be flipped and still agree with its labels.

    Args:
        labels: label value to name.

    Returns:
        the axes of a volume in RAS order: not the one from left to right where labels are mirror images.
    """
    return (1, 2) if mirrored_pairs(labels) else (0, 1, 2)


def flips_in_words(labels: Mapping[int, str], axes: Sequence[int]) -> str:
    """Say along which axes volumes are flipped, and what mirrored labels have to do with it.

    Args:
        labels: label value to name.
        axes: the axes, in RAS order.

    Returns:
        one line of text.
    """
    text = "along " + ", ".join(f"axis {axis}" for axis in axes) if axes else "none"
    pairs = mirrored_pairs(labels)
    if not pairs:
        return text
    shown = " and ".join(f"'{name}'" for name in pairs[0])
    more = len(pairs) - 1
    shown += f" (and {more} more such pair{'s' if more > 1 else ''})" if more else ""
    if LEFT_RIGHT in axes:
        return f"{text}, as flip_axes says, though {shown} change sides along axis {LEFT_RIGHT}"
    return f"{text}, not from left to right (axis {LEFT_RIGHT}): {shown} would change sides"


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in small letters, with the sides spelt alike."""
    words = _WORD.findall(_HUMP.sub(" ", name))
    return tuple(_SIDES.get(word.lower(), word.lower()) for word in words)

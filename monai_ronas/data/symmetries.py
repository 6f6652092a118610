# SPDX-License-Identifier: Apache-2.0
"""What may be turned and mirrored: by the names of the labels, and by the spacing of the slices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
_OTHER = {"left": "right", "right": "left"}
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
LEFT_RIGHT = 0
"""The axis from left to right of volumes in RAS order."""
THICK = 3.0
"""Slices are thick where they are further apart than so many times the voxels' length in them (nnU-Net's rule)."""


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


def thick_axis(spacing: Sequence[float]) -> int | None:
    """The axis across thick slices; None where no axis is thick, or more than one.

    Args:
        spacing: voxel size per axis, in mm.

    Example:
        >>> thick_axis((1.5, 1.5, 10.0)), thick_axis((1.0, 1.0, 2.5))
        (2, None)
    """
    thick = [axis for axis, length in enumerate(spacing) if length > THICK * min(spacing)]
    return thick[0] if len(thick) == 1 else None


def flip_axes(labels: Mapping[int, str], spacing: Sequence[float]) -> tuple[int, ...]:
    """Axes along which volumes are flipped, so that they still look like others and agree with their labels.

    Args:
        labels: label value to name.
        spacing: voxel size per axis, in mm.

    Returns:
        the axes of a volume in RAS order: not the one from left to right where labels are mirror images, and not the
        one across thick slices, whose order tells where one is.
    """
    excluded = {thick_axis(spacing), LEFT_RIGHT if mirrored_pairs(labels) else None}
    return tuple(axis for axis in range(len(spacing)) if axis not in excluded)


def transposed_axes(axes: Sequence[int], spacing: Sequence[float]) -> tuple[int, int] | None:
    """The two axes within thick slices, where they may change places; with the flips, slices then turn by quarters.

    In the plane of thick slices nnU-Net turns volumes by any angle. Quarter turns cost nothing.

    Args:
        axes: along which volumes are flipped.
        spacing: voxel size per axis, in mm.

    Returns:
        None where there are no thick slices, their voxels are not square, or they are not flipped along both axes.

    Example:
        >>> transposed_axes((0, 1), (1.5, 1.5, 10.0)), transposed_axes((0, 1, 2), (1.0, 1.0, 1.0))
        ((0, 1), None)
    """
    thick = thick_axis(spacing)
    plane = tuple(axis for axis in range(len(spacing)) if axis != thick)
    if thick is None or len(plane) != 2 or not set(plane) <= set(axes):
        return None
    lengths = [spacing[axis] for axis in plane]
    return plane if max(lengths) <= 1.01 * min(lengths) else None


def flips_in_words(labels: Mapping[int, str], axes: Sequence[int], spacing: Sequence[float]) -> str:
    """Say along which axes volumes are flipped, and what labels and slices have to do with it.

    Args:
        labels: label value to name.
        axes: the axes, in RAS order.
        spacing: voxel size per axis, in mm.

    Returns:
        one line of text.
    """
    text = "along " + ", ".join(f"axis {axis}" for axis in axes) if axes else "none"
    thick = thick_axis(spacing)
    if thick is not None and thick not in axes:
        text += f", not across the slices of {spacing[thick]:g} mm (axis {thick})"
    if transposed_axes(axes, spacing) is not None:
        text += ", and by quarter turns within them"
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

# SPDX-License-Identifier: Apache-2.0
"""The colours of the report, which people with any colour vision can tell apart.

They are those of Okabe and Ito, "Color Universal Design" (2008); three of them are kept for differences.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

_CLASSES: tuple[Colour, ...] = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167))
_SHADES = (1.0, 0.65, 0.4)
DIFFERENCES: tuple[tuple[str, Colour], ...] = (
    ("missed", (213, 94, 0)),
    ("too much", (0, 114, 178)),
    ("another class", (255, 255, 255)),
)
"""What a voxel's difference is called, and its colour, for the values of
:func:`~monai_ronas.visualize.segmentations.difference` from 1 on."""


def class_rgb(index: int) -> Colour:
    """Red, green and blue of a class, 0 to 255; five colours in three shades, over and over.

    Args:
        index: of the class; 0 is the background and has none.

    Raises:
        ValueError: when the index is not positive.

    Example:
        >>> class_rgb(1), class_rgb(6)
        ((230, 159, 0), (149, 103, 0))
    """
    if index < 1:
        raise ValueError(f"index must be that of a foreground class, 1 or more, received {index}.")
    shade = _SHADES[(index - 1) // len(_CLASSES) % len(_SHADES)]
    red, green, blue = _CLASSES[(index - 1) % len(_CLASSES)]
    return int(red * shade), int(green * shade), int(blue * shade)


def class_colour(index: int) -> str:
    """:func:`class_rgb` as CSS and Matplotlib write it.

    Example:
        >>> class_colour(1)
        '#e69f00'
    """
    return css(class_rgb(index))


def css(colour: Colour) -> str:
    """A colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)

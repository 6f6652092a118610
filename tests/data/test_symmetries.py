# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_ronas.data.symmetries import (
    flip_axes,
    flips_in_words,
    mirrored_pairs,
    thick_axis,
    transposed_axes,
)

UPPER = [("lung_upper_lobe_left", "lung_upper_lobe_right")]

CUBES = (1.0, 1.0, 1.0)


def labels(*names):
    return dict(enumerate(("background", *names)))


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("left kidney", "right kidney"), [("left kidney", "right kidney")]),
        (("Kidney_R", "liver", "Kidney_L"), [("Kidney_L", "Kidney_R")]),
        (("lung-left", "lung-right"), [("lung-left", "lung-right")]),
        (("LT atrium", "rt atrium"), [("LT atrium", "rt atrium")]),
        (("Left Lung", "R lung"), [("Left Lung", "R lung")]),
        (("LeftFemur", "RightFemur"), [("LeftFemur", "RightFemur")]),
        (("kidney (L)", "kidney (R)"), [("kidney (L)", "kidney (R)")]),
        (("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right"), UPPER),
        (("left", "right"), [("left", "right")]),
        (("left atrium", "right ventricle"), []),
        (("left kidney", "right kidney tumour"), []),
        (("LV", "RV", "MYO"), []),
        (("Anterior", "Posterior"), []),
        (("cleft", "bright", "leftover", "rightover"), []),
        (("vertebra L1", "vertebra R1"), []),
        (("left kidney", "kidney"), []),
    ],
)
def test_pairs(names, pairs):
    assert mirrored_pairs(labels(*names)) == pairs
    assert flip_axes(labels(*names), CUBES) == ((1, 2) if pairs else (0, 1, 2))


def test_words():
    kidneys = labels("left kidney", "right kidney", "left lung", "right lung")
    assert flips_in_words(labels("liver"), (0, 1, 2), CUBES) == "along axis 0, axis 1, axis 2"
    assert flips_in_words(labels("liver"), (), CUBES) == "none"
    assert flips_in_words(kidneys, (1, 2), CUBES) == (
        "along axis 1, axis 2, not from left to right (axis 0): 'left kidney' and 'right kidney' (and 1 more such pair)"
        " would change sides"
    )
    assert flips_in_words(kidneys, (0,), CUBES) == (
        "along axis 0, as flip_axes says, though 'left kidney' and 'right kidney' (and 1 more such pair) change sides"
        " along axis 0"
    )


@pytest.mark.parametrize(
    ("spacing", "thick"),
    [(CUBES, None), ((1, 1, 3), None), ((1, 1, 3.1), 2), ((4, 1, 1), 0), ((1, 5, 5), None), ((0.6, 0.6, 3.6), 2)],
)
def test_slices_are_thick_by_nnu_nets_threshold(spacing, thick):
    assert thick_axis(spacing) == thick
    assert flip_axes(labels("heart"), spacing) == tuple(a for a in range(3) if a != thick)


@pytest.mark.parametrize(
    ("axes", "spacing", "expected"),
    [
        ((0, 1), (1.5, 1.5, 10.0), (0, 1)),
        ((0, 1, 2), (1.5, 1.5, 10.0), (0, 1)),
        ((1, 2), (6.0, 1.2, 1.2), (1, 2)),
        ((1,), (1.5, 1.5, 10.0), None),  # mirrored labels: a quarter turn with a flip would mirror them
        ((0, 1), (1.5, 1.3, 10.0), None),  # not square
        ((0, 1, 2), CUBES, None),
    ],
)
def test_thick_square_slices_that_are_flipped_both_ways_are_turned_as_well(axes, spacing, expected):
    assert transposed_axes(axes, spacing) == expected


def test_words_of_thick_slices():
    assert flips_in_words(labels("heart"), (0, 1), (1.5, 1.5, 10.0)) == (
        "along axis 0, axis 1, not across the slices of 10 mm (axis 2), and by quarter turns within them"
    )
    assert flips_in_words(labels("heart"), (0, 1, 2), (1.5, 1.4, 10.0)) == "along axis 0, axis 1, axis 2"

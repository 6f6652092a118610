# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_ronas.data.mirrored import flip_axes, flips_in_words, mirrored_pairs

UPPER = [("lung_upper_lobe_left", "lung_upper_lobe_right")]


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
    assert flip_axes(labels(*names)) == ((1, 2) if pairs else (0, 1, 2))


def test_words():
    kidneys = labels("left kidney", "right kidney", "left lung", "right lung")
    assert flips_in_words(labels("liver"), (0, 1, 2)) == "along axis 0, axis 1, axis 2"
    assert flips_in_words(labels("liver"), ()) == "none"
    assert flips_in_words(kidneys, (1, 2)) == (
        "along axis 1, axis 2, not from left to right (axis 0): 'left kidney' and 'right kidney' (and 1 more such pair)"
        " would change sides"
    )
    assert flips_in_words(kidneys, (0,)) == (
        "along axis 0, as flip_axes says, though 'left kidney' and 'right kidney' (and 1 more such pair) change sides"
        " along axis 0"
    )

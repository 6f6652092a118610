# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.utils import differences


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"learning_rate": 0.02}, {"learning_rate": 0.01}, ["learning_rate was 0.02 and is 0.01"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a b was [1, 2] and is [1, 3]"]),
        ({"a": [1, 2], "old": 1}, {"a": (1, 2)}, []),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, ["a c is 2 and was not recorded", "a b was 1 and is not given"]),
        ({"a": ["x", ["rate", 1]]}, {"a": ["x", ["rate", 2]]}, ["a was ['x', ['rate', 1]] and is ['x', ['rate', 2]]"]),
        (
            {"loss": ["monai.losses.DiceCELoss, which is long", [["softmax", True]]]},
            {"loss": ["monai.losses.DiceCELoss, which is long", [["softmax", False]]]},
            ["loss softmax was True and is False"],
        ),
        ({"a": "x" * 50}, {"a": "y" * 50}, [f"a was {'x' * 37}... and is {'y' * 37}..."]),
    ],
)
def test_differences_are_named(then, now, told):
    assert differences(then, now) == told


def test_two_of_the_same_name_and_another_order_are_told_apart():
    """As transforms are described, one after the other."""
    flips = [["Flip", [["axis", 0]]], ["Flip", [["axis", 1]]]]
    other = [["Flip", [["axis", 2]]], ["Flip", [["axis", 1]]]]
    assert differences({"crops": flips}, {"crops": flips}) == []
    assert len(differences({"crops": flips}, {"crops": other})) == 1
    mixed = [["Flip", [["axis", 0]]], ["Noise", [["std", 1]]]]
    assert differences({"crops": mixed}, {"crops": mixed[::-1]}) == [
        "crops was in the order ['Flip', 'Noise'] and is in the order ['Noise', 'Flip']"
    ]

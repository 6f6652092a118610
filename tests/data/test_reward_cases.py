# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_ronas.data.reward_cases import choose_reward_cases, reward_count


def units_of(number):
    return [(f"n{index:02d}",) for index in range(number)]


def test_the_count_follows_the_fraction_but_is_eight_where_there_are_enough():
    assert [reward_count(n, 0.15) for n in (2, 3, 6, 24, 40, 80, 166)] == [1, 1, 2, 8, 8, 12, 25]
    assert [reward_count(n, 0.9) for n in (2, 10)] == [1, 9]


def test_the_first_units_are_taken_where_the_classes_are_everywhere():
    units = units_of(10)
    classes = {name: {1, 2} for (name,) in units}
    assert choose_reward_cases(units, count=3, classes=classes) == ("n00", "n01", "n02")
    assert choose_reward_cases(units, count=3) == ("n00", "n01", "n02")


def test_one_swap_brings_a_class_of_a_tenth_of_the_cases():
    units = units_of(20)
    classes = {name: {1} for (name,) in units} | {"n10": {1, 2}, "n15": {1, 2}}
    assert choose_reward_cases(units, count=3, classes=classes) == ("n00", "n01", "n10")


def test_a_rarer_class_may_stay_in_training_but_not_the_reverse():
    units = units_of(40)
    classes = {name: {1} for (name,) in units} | {"n10": {1, 2}, "n15": {1, 2}}
    assert choose_reward_cases(units, count=3, classes=classes) == ("n00", "n01", "n02")
    classes = {name: {1} for (name,) in units} | {"n01": {1, 2}}
    assert choose_reward_cases(units, count=3, classes=classes) == ("n00", "n02", "n03")


def test_more_cases_are_taken_where_no_swap_helps():
    units = units_of(8)
    classes = {name: {1 + index // 2} for index, (name,) in enumerate(units)}  # four classes, two cases each
    chosen = choose_reward_cases(units, count=2, classes=classes)
    assert chosen == ("n00", "n02", "n04", "n06")


def test_a_class_of_one_case_is_for_training():
    units = units_of(4)
    assert choose_reward_cases(units, count=1, classes={"n00": {1, 2}, "n01": {1}, "n02": {1}}) == ("n01",)


def test_a_large_group_is_passed_over_and_the_smallest_taken_if_all_are_large():
    units = [tuple(f"a{i}" for i in range(6)), ("b",), ("c",), ("d",), ("e",)]
    assert choose_reward_cases(units, count=2) == ("b", "c")
    units = [("a1", "a2", "a3"), ("b1", "b2"), ("c1", "c2")]
    assert choose_reward_cases(units, count=1) == ("b1", "b2")


@pytest.mark.parametrize(
    ("filled", "count", "expected"),
    [
        (range(10), 3, ("n00", "n01", "n02")),
        ((4, 5, 8, 9), 3, ("n04", "n05", "n08")),
        ((0, 9), 1, ("n00",)),
        ((9,), 2, ("n00", "n01")),
        ((), 2, ("n00", "n01")),
    ],
)
def test_cases_without_foreground_are_for_training(filled, count, expected):
    classes = {name: {1} if index in filled else set() for index, (name,) in enumerate(units_of(10))}
    assert choose_reward_cases(units_of(10), count=count, classes=classes) == expected


def test_a_group_counts_as_having_foreground_where_one_of_its_cases_has():
    units = [("a1", "a2"), ("b1", "b2"), ("c1", "c2"), ("d1", "d2")]
    assert choose_reward_cases(units, count=2, classes={"b2": {1}, "c1": {1}}) == ("b1", "b2")


def test_a_case_whose_class_training_needs_is_exchanged_for_one_with_foreground():
    units = units_of(40)
    classes = {name: {1} if index > 20 else set() for index, (name,) in enumerate(units)} | {"n21": {2}}
    assert choose_reward_cases(units, count=2, classes=classes) == ("n22", "n23")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(1, 3), min_size=2, max_size=25), fraction=st.floats(0.05, 0.5))
def test_classes_are_covered(data, sizes, fraction):
    units = [tuple(f"n{unit:02d}_{case}" for case in range(size)) for unit, size in enumerate(sizes)]
    names = [name for unit in units for name in unit]
    some = st.sets(st.integers(1, 5))
    classes = {name: data.draw(some) for name in names}
    chosen = choose_reward_cases(units, count=reward_count(len(names), fraction), classes=classes)
    train = set(names) - set(chosen)
    assert train
    assert set(chosen) < set(names)
    assert all(set(unit) <= train or not set(unit) & train for unit in units)
    for value in range(1, 6):
        owners = [unit for unit in units if any(value in classes[name] for name in unit)]
        number = sum(value in found for found in classes.values())
        if len(owners) > 1 and 10 * number >= len(names):
            assert any(value in classes[name] for name in chosen)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_ronas.data import DatasetError, Split, read_msd, split_cases

NAMES = [f"case_{index:02d}" for index in range(23)]
HIPPOCAMPI = [11, 25, 40, 58, 64, 68, 70, 74, 94, 97, 125, 133, 215, 222, 244, 298, 303, 321, 332, 335, 355, 376, 381]
HIPPOCAMPI += [385, 393]  # the reward cases of fold 0, seed 0 since version 0.1


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(4, 40),
    num_folds=st.integers(2, 4),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_properties(count, num_folds, fraction, seed, data):
    names = [f"n{index}" for index in range(count)]
    arguments = {"num_folds": num_folds, "reward_fraction": fraction, "seed": seed}
    splits = [split_cases(names, fold=fold, **arguments) for fold in range(num_folds)]
    assert sorted(name for split in splits for name in split.test) == sorted(names)
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for fold, split in enumerate(splits):
        assert sorted(split.train + split.reward + split.test) == sorted(names)
        assert len(split.train) >= 1
        others = count - len(split.test)
        expected = max(round(fraction * others), min(8, others // 3), 1)
        assert len(split.reward) == min(expected, others - 1)
        shuffled = data.draw(st.permutations(names))
        assert split_cases(shuffled, fold=fold, **arguments) == split
        assert Split.from_dict(json.loads(json.dumps(split.to_dict()))) == split


def test_seed_and_fraction_matter():
    def split(**changes):
        return split_cases(NAMES, **{"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0} | changes)

    assert split().test != split(seed=1).test
    assert split().reward != split(seed=1).reward
    assert split().test == split(reward_fraction=0.5).test
    assert set(split().reward) < set(split(reward_fraction=0.5).reward)


def test_no_fold_no_test_cases():
    split = split_cases(NAMES, fold=None, num_folds=5, reward_fraction=0.2, seed=0)
    assert split.test == ()
    assert (len(split.train), len(split.reward)) == (16, 7)  # a third, as 8 would be more


def test_at_least_eight_reward_cases_where_there_are_enough():
    sizes = {}
    for count in (3, 20, 30, 60, 100):
        names = [f"n{index}" for index in range(count)]
        sizes[count] = len(split_cases(names, fold=None, num_folds=5, reward_fraction=0.1, seed=0).reward)
    assert sizes == {3: 1, 20: 6, 30: 8, 60: 8, 100: 10}


@pytest.mark.parametrize("classes", [None, {1, 2}])
def test_the_hippocampi_are_split_as_ever(real_data, classes):
    names = [case.name for case in read_msd(real_data).cases]
    known = None if classes is None else dict.fromkeys(names, classes)
    split = split_cases(names, fold=0, num_folds=5, reward_fraction=0.15, seed=0, classes=known)
    assert (len(split.train), len(split.reward), len(split.test)) == (141, 25, 42)
    assert [int(name.removeprefix("hippocampus_")) for name in split.reward] == HIPPOCAMPI


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=4, max_size=25),
    num_folds=st.integers(2, 4),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_groups_stay_whole(sizes, num_folds, fraction, seed, data):
    groups = {f"p{patient}_{scan}": f"p{patient}" for patient, size in enumerate(sizes) for scan in range(size)}
    arguments = {"num_folds": num_folds, "reward_fraction": fraction, "seed": seed, "groups": groups}
    splits = [split_cases(list(groups), fold=fold, **arguments) for fold in range(num_folds)]
    assert sorted(name for split in splits for name in split.test) == sorted(groups)
    patients = [len({groups[name] for name in split.test}) for split in splits]
    assert max(patients) - min(patients) <= 1
    for fold, split in enumerate(splits):
        uses = [getattr(split, use) for use in ("train", "reward", "test")]
        assert sorted(name for use in uses for name in use) == sorted(groups)
        assert all(uses)
        sides = [{groups[name] for name in use} for use in uses]
        assert sum(map(len, sides)) == len(sizes)
        shuffled = data.draw(st.permutations(list(groups)))
        assert split_cases(shuffled, fold=fold, **arguments) == split


def test_groups_of_one_case_change_nothing():
    arguments = {"fold": 1, "num_folds": 5, "reward_fraction": 0.25, "seed": 3}
    assert split_cases(NAMES, **arguments, groups={n: n for n in NAMES}) == split_cases(NAMES, **arguments)


def test_the_test_cases_can_be_given():
    arguments = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}
    split = split_cases(NAMES, **arguments, test=NAMES[3:6])
    assert split.test == tuple(NAMES[3:6])
    assert (len(split.train), len(split.reward)) == (14, 6)
    groups = {name: name[:-1] for name in NAMES}
    with pytest.raises(DatasetError, match=r"1 group\(s\) have cases both in train and in val, the first 'case_0'"):
        split_cases(NAMES, **arguments, test=NAMES[3:6], groups=groups)


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (NAMES, {"fold": 5}, r"fold must be null or 0\.\.4 with num_folds 5, received 5"),
        (NAMES, {"fold": -1}, "received -1"),
        (NAMES, {"fold": "zero"}, "received zero"),
        (NAMES, {"num_folds": 1}, "num_folds must be at least 2, received 1"),
        (NAMES[:4], {}, r"4 case\(s\) cannot fill num_folds 5"),
        (NAMES, {"reward_fraction": 0.0}, "between 0 and 1"),
        (NAMES, {"reward_fraction": 1.0}, r"received 1\.0"),
        (NAMES[:2], {"num_folds": 2}, r"only 1 of 2 case\(s\) remain"),
        (NAMES[:1], {"fold": None}, "training and reward need one each"),
        ([], {"fold": None}, "only 0 of 0"),
        (["a", "a", "b"], {"fold": None}, "more than once"),
        (NAMES, {"groups": {n: n[:-1] for n in NAMES}}, r"3 group\(s\) of cases cannot fill num_folds 5"),
    ],
)
def test_errors(names, changes, message):
    with pytest.raises(DatasetError, match=message):
        split_cases(names, **{"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0} | changes)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_ronas.data import DatasetError, Split, split_cases

NAMES = [f"case_{index:02d}" for index in range(23)]


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
        expected = round(fraction * (count - len(split.test)))
        assert len(split.reward) == min(max(1, expected), count - len(split.test) - 1)
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
    assert (len(split.train), len(split.reward)) == (18, 5)


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
    ],
)
def test_errors(names, changes, message):
    with pytest.raises(DatasetError, match=message):
        split_cases(names, **{"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0} | changes)

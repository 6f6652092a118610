# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_ronas.data import DatasetError
from monai_ronas.data.own_folds import read_test_cases

NAMES = ["a", "b", "c", "d"]
FOLDS = [{"train": ["a", "b"], "val": ["d", "c"]}, {"train": ["c", "d"], "val": ["a", "b"]}]


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "splits_final.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_the_fold_selects_the_entry(written):
    path = written(FOLDS)
    assert read_test_cases(path, fold=0, names=NAMES) == ("c", "d")
    assert read_test_cases(str(path), fold=1, names=NAMES) == ("a", "b")


def test_cases_left_out_for_their_faults_may_be_listed(written):
    assert read_test_cases(written(FOLDS), fold=0, names=["a", "b", "c"], left_out=["d"]) == ("c",)


@pytest.mark.parametrize(
    ("content", "fold", "message"),
    [
        (FOLDS, 2, r"fold must be 0\.\.1, an entry of splits_file '.*', received 2"),
        (FOLDS, None, "received None: without test cases, leave splits_file out"),
        (FOLDS, "0", "received 0"),
        (
            [{"train": ["a", "b", "e", "f"], "val": ["c", "d"]}],
            0,
            r"entry 0 of splits_file '.*' has 2 case\(s\) that the data set does not have \('e', 'f'\): correct them\.",
        ),
        ([{"train": ["a"], "val": ["c"]}], 0, r"lacks 2 case\(s\) of the data set \('b', 'd'\): add each to train"),
        (
            [{"train": ["a", "b", "c"], "val": ["c", "d"]}],
            0,
            r"has 1 case\(s\) both in train and in val \('c'\): remove each from one of them",
        ),
        ([{"train": ["a"]}], 0, "must hold the lists train and val of case names"),
        ([{"train": ["a"], "val": [1]}], 0, "must hold the lists train and val of case names"),
        ([["a"]], 0, "must hold the lists train and val of case names"),
        (
            [{"train": [str(n) for n in range(9)], "val": []}],
            0,
            r"has 9 case\(s\) .* \('0', '1', '2', '3', '4', \.\.\.\)",
        ),
        ([], 0, "holds no list of folds"),
        ({"train": [], "val": []}, 0, "holds no list of folds"),
        ("[{", 0, "cannot be read as JSON"),
    ],
)
def test_other_files_are_refused_in_one_sentence(written, content, fold, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_test_cases(written(content), fold=fold, names=NAMES)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match=r"splits_file '.*none\.json' is not a file: give a list of"):
        read_test_cases(tmp_path / "none.json", fold=0, names=NAMES)

# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import numpy as np
import pytest

from monai_ronas.data import DatasetError, open_study


def test_study_of_the_phantom(phantom, tmp_path):
    study = open_study(phantom, tmp_path, fold=0, num_folds=5, reward_fraction=0.5, seed=0)
    uses = [study.cases(use) for use in ("train", "reward", "test")]
    assert [len(u) for u in uses] == [2, 2, 1]
    assert len({c.name for use in uses for c in use}) == 5
    report = json.loads((tmp_path / "dataset_report.json").read_text())
    assert report["split"] == study.split.to_dict()
    assert report["fingerprint"] == json.loads(json.dumps(study.fingerprint.to_dict()))
    name, digest = study.identity()["data set"]
    assert (name, len(digest)) == (study.dataset.name, 64)
    other = dataclasses.replace(study, fingerprint=dataclasses.replace(study.fingerprint, max_shape=(90, 90, 90)))
    assert other.identity()["data set"] != study.identity()["data set"]
    summary = study.summary()
    for text in (
        "5 cases",
        "2 train, 2 reward, 1 test\n",
        "flips  along axis 0, axis 1, axis 2",
        study.fingerprint.name,
    ):
        assert text in summary
    for size, largest in zip(study.search_shape, study.fingerprint.max_shape, strict=True):
        assert size <= largest


SPLIT = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}


def scans(maker, patients=6):
    """A data set of two scans of each patient."""
    for name in (f"p{patient}_{scan}" for patient in range(patients) for scan in "ab"):
        maker.add(name)
    return maker.write()


def test_scans_of_a_patient_have_one_use(maker, tmp_path, caplog):
    root = scans(maker)
    study = open_study(root, tmp_path, **SPLIT, group=r"(p\d+)_")
    uses = [{name[:2] for name in names} for names in (study.split.train, study.split.reward, study.split.test)]
    assert sum(map(len, uses)) == 6
    assert all(uses)
    assert study.num_groups == 6
    assert json.loads((tmp_path / "dataset_report.json").read_text())["num_groups"] == 6
    assert "6 train, 2 reward, 4 test; 6 groups of cases, each on one side" in study.summary()
    assert "--group" not in caplog.text
    assert open_study(root, tmp_path, **SPLIT).num_groups is None
    assert caplog.text.count(r"--group '(p\d+)_' keeps the cases of each on one side") == 1


def test_own_folds_have_the_say(maker, tmp_path):
    root = scans(maker)
    names = sorted(case.name for case in open_study(root, tmp_path, **SPLIT).dataset.cases)
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": names[4:], "val": names[:4]}, {"train": names[:9], "val": names[9:]}]))
    study = open_study(root, tmp_path, **SPLIT, splits_file=path, group=r"(p\d+)_")
    assert study.split.test == tuple(names[:4])
    other = open_study(root, tmp_path, **{**SPLIT, "fold": 1}, splits_file=path)
    assert other.split.test == tuple(names[9:])
    assert other.identity() != study.identity()
    with pytest.raises(DatasetError, match=r"1 group\(s\) have cases both in train and in val, the first 'p4'"):
        open_study(root, tmp_path, **{**SPLIT, "fold": 1}, splits_file=path, group=r"(p\d+)_")


def test_own_folds_may_name_a_case_that_is_left_out(maker, tmp_path):
    maker.add("bad", image=np.full((9, 8, 7), np.nan, dtype=np.float32))
    root = scans(maker)
    names = [f"p{patient}_{scan}" for patient in range(6) for scan in "ab"]
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": names[1:], "val": ["bad", names[0]]}]))
    study = open_study(root, tmp_path, **SPLIT, splits_file=path, skip_invalid=True)
    assert (study.split.test, study.split.skipped) == ((names[0],), ("bad",))


def test_a_rare_class_is_in_the_reward_and_in_training(maker, tmp_path, caplog):
    maker.content["labels"] |= {"2": "left cyst", "3": "right cyst"}
    for n in range(15):
        label = np.zeros((9, 8, 7), dtype=np.uint8)
        label[2:5, 2:5, 2:5] = 1
        if n % 5 == 0:
            label[6, 6, 6] = 2
        maker.add(f"case{n:02d}", label=label)
    for seed in range(4):
        study = open_study(maker.write(), tmp_path, **{**SPLIT, "fold": None, "seed": seed})
        for use in (study.split.train, study.split.reward):
            assert set(use) & {"case00", "case05", "case10"}
    assert "no case has label 3 'right cyst': the network cannot learn it; leave it out" in caplog.text
    assert "has label 2" not in caplog.text


def organs(maker, classes):
    """A data set whose cases have the classes given."""
    maker.content["labels"] = {"0": "background", "1": "head", "2": "tail"}
    for n, found in enumerate(classes):
        label = np.zeros((9, 8, 7), dtype=np.uint8)
        for value in found:
            label[2 * value : 2 * value + 2, 2:5, 2:5] = value
        maker.add(f"case{n:02d}", label=label)
    return maker.write()


FEW = {**SPLIT, "fold": None, "reward_fraction": 0.2}


@pytest.mark.parametrize(
    ("filled", "told"),
    [
        ((), r"0 of the 9 case\(s\) outside the test fold have foreground"),
        ((4,), r"1 of the 9 case\(s\) outside the test fold have foreground"),
        ((4, 7), None),
        ((0, 1, 2, 3), None),
        (range(9), None),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_training_and_reward_have_foreground_or_the_search_does_not_begin(maker, tmp_path, filled, told, seed):
    root = organs(maker, [(1, 2) if n in filled else () for n in range(9)])
    if told:
        with pytest.raises(DatasetError, match=told):
            open_study(root, tmp_path, **{**FEW, "seed": seed})
        return
    split = open_study(root, tmp_path, **{**FEW, "seed": seed}).split
    names = {f"case{n:02d}" for n in filled}
    assert set(split.reward) <= names
    assert len(split.reward) == max(1, len(names) // 3)
    assert names & set(split.train)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ((), "no case has label 2 'tail': the network cannot learn it; leave it out of dataset.json, or give cases"),
        ((5,), "no reward case has label 2 'tail': candidates are compared without it"),
        ((3, 5, 6), None),
    ],
)
def test_a_class_that_is_lacking_is_told_before_anything_is_trained(maker, tmp_path, caplog, second, told):
    root = organs(maker, [(1, 2) if n in second else (1,) for n in range(12)])
    split = open_study(root, tmp_path, **FEW).split
    assert (told in caplog.text) if told else ("has label" not in caplog.text)
    if told is None:
        holders = {f"case{n:02d}" for n in second}
        assert holders & set(split.reward)
        assert holders & set(split.train)


def test_a_class_in_the_test_fold_alone_is_told(maker, tmp_path, caplog):
    root = organs(maker, [(1,)] * 10)
    (held, *_) = open_study(root, tmp_path, **SPLIT).split.test
    maker.content["training"].clear()
    root = organs(maker, [(1, 2) if f"case{n:02d}" == held else (1,) for n in range(10)])
    open_study(root, tmp_path, **SPLIT)
    assert "no training case has label 2 'tail': the network cannot learn it; give cases with it" in caplog.text


def test_test_cases_without_foreground_are_told(maker, tmp_path, caplog):
    root = organs(maker, [(1, 2)] * 10)
    test = open_study(root, tmp_path, **SPLIT).split.test
    maker.content["training"].clear()
    root = organs(maker, [() if f"case{n:02d}" in test else (1, 2) for n in range(10)])
    open_study(root, tmp_path, **SPLIT)
    assert "no test case has foreground" in caplog.text


def test_mirrored_labels_are_not_flipped_from_left_to_right(maker, tmp_path):
    maker.content["labels"] = {"0": "background", "1": "left kidney", "2": "right kidney"}
    for n in range(5):
        label = np.zeros((9, 8, 7), dtype=np.uint8)
        label[2:5, 2:5, 2:5], label[6:, 2:5, 2:5] = 1, 2
        maker.add(f"case{n}", label=label)
    study = open_study(maker.write(), tmp_path, **SPLIT)
    assert study.flip_axes == (1, 2)
    words = "not from left to right (axis 0): 'left kidney' and 'right kidney' would change sides"
    assert words in study.summary()
    assert words in json.loads((tmp_path / "dataset_report.json").read_text())["flips"]
    assert open_study(maker.write(), tmp_path, **SPLIT, flip_axes=[0]).flip_axes == (0,)


def test_one_huge_case_does_not_set_the_patch(maker, tmp_path):
    rng = np.random.default_rng(1)
    for n in range(5):
        shape = (40, 40, 40) if n == 4 else (16, 16, 16)
        label = np.zeros(shape, dtype=np.uint8)
        label[3:9, 3:9, 3:9] = 1
        maker.add(f"case{n}", image=rng.uniform(1, 2, shape).astype(np.float32), label=label)
    study = open_study(maker.write(), tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)
    assert study.fingerprint.max_shape == (40, 40, 40)
    assert study.search_shape == (20, 20, 20)


def test_faults_are_reported_in_the_file_before_the_sentence(maker, tmp_path):
    for n in range(5):
        maker.add(f"case{n}")
    maker.add("bad", image=np.full((9, 8, 7), np.nan, dtype=np.float32))
    with pytest.raises(DatasetError, match="bad"):
        open_study(maker.write(), tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)
    report = json.loads((tmp_path / "dataset_report.json").read_text())
    assert report["faults"]
    assert "fingerprint" not in report


def test_the_report_of_a_search_in_the_folder_stays(maker, tmp_path):
    def kept():
        return (tmp_path / "dataset_report.json").read_bytes()

    root = scans(maker)
    open_study(root, tmp_path, **SPLIT)
    before = kept()
    (tmp_path / "checkpoints").mkdir()
    open_study(root, tmp_path, **{**SPLIT, "seed": 3})
    assert kept() == before
    maker.add("bad", image=np.full((9, 8, 7), np.nan, dtype=np.float32))
    with pytest.raises(DatasetError, match=f"the full report is in '{tmp_path}/checked/dataset_report.json'"):
        open_study(maker.write(), tmp_path, **SPLIT)
    assert kept() == before
    assert json.loads((tmp_path / "checked" / "dataset_report.json").read_text())["faults"]


def test_the_fingerprint_knows_nothing_of_the_test_fold(phantom, maker, tmp_path):
    def write(shape):
        for n in range(5):
            size = shape if n == held_out else (16, 16, 16)
            label = np.zeros(size, dtype=np.uint8)
            label[3:9, 3:9, 3:9] = 1
            maker.add(f"case{n}", image=np.random.default_rng(n).uniform(1, 2, size).astype(np.float32), label=label)
        root = maker.write()
        maker.content["training"].clear()
        return open_study(root, tmp_path, fold=0, num_folds=5, reward_fraction=0.25, seed=0)

    held_out = -1
    first = write((16, 16, 16))
    (name,) = first.split.test
    held_out = int(name.removeprefix("case"))
    assert write((40, 44, 48)).fingerprint == first.fingerprint

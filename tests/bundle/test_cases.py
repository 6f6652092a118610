# SPDX-License-Identifier: Apache-2.0
"""Which cases a bundle is judged by and trained on; the search's own are known by their images."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.bundle import SoundVolumes, evaluation_cases, tell_left_out, training_cases
from monai_ronas.data import DatasetError, open_study, verify_dataset
from monai_ronas.data.content import image_digest, known_cases
from monai_ronas.data.msd import read_msd

USES = {"train": ["c0", "c1", "c2", "c3"], "reward": ["c4", "c5"], "test": ["c6", "c7"]}


def image(seed):
    return np.random.default_rng(seed).normal(size=(6, 5, 4)).astype(np.float32)


def dataset(root, images, suffix=".nii.gz"):
    """An MSD folder of a case for each name and seed."""
    entries = []
    for name, seed in images.items():
        entry = {"image": f"imagesTr/{name}{suffix}", "label": f"labelsTr/{name}{suffix}"}
        label = (image(seed) > 0).astype(np.uint8)
        for path, values in ((entry["image"], image(seed)), (entry["label"], label)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.eye(4)), root / path)
        entries.append(entry)
    content = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "organ"}, "training": entries}
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def split_file(root, **more):
    digests = {f"c{n}": image_digest(image(n)[..., None]) for n in range(8)}
    (root / "split.json").write_text(json.dumps({**USES, "skipped": [], "digests": digests, **more}), encoding="utf-8")
    return root / "split.json"


def stems(items):
    return [Path(item["image"]).name.partition(".")[0] for item in items]


def chosen(root, split):
    return {use: stems(items) for use, items in training_cases(root, split).items()}


OWN = {f"c{n}": n for n in range(8)}


def test_new_cases_are_trained_on_beside_the_searchs_own(tmp_path, caplog):
    caplog.set_level("INFO")
    root = dataset(tmp_path / "data", {**OWN, **{f"new{n}": 20 + n for n in range(6)}})
    found = chosen(root, split_file(tmp_path))
    assert found == {"train": ["c0", "c1", "c2", "c3", *(f"new{n}" for n in range(6))], "validate": ["c4", "c5"]}
    assert "10 cases for training and 2 for validation: 6 of the search and 6 new; 2 test case(s)" in caplog.text


def test_other_images_of_the_same_names_are_new(tmp_path, caplog):
    root = dataset(tmp_path / "data", {"c0": 50, "c4": 51, "c6": 52, "x": 53, "y": 54})
    split = split_file(tmp_path)
    assert chosen(root, split) == {"train": ["c4", "c6", "x", "y"], "validate": ["c0"]}
    assert "3 case(s) bear names of the search's but have other images, and count as new: c0, c4, c6" in caplog.text
    assert stems(evaluation_cases(root, split)) == ["c0", "c4", "c6", "x", "y"]


def test_the_searchs_own_are_known_under_other_names_and_as_other_files(tmp_path):
    root = dataset(tmp_path / "data", {f"patient{n}": n for n in range(8)}, suffix=".nii")
    split = split_file(tmp_path)
    assert stems(evaluation_cases(root, split)) == ["patient6", "patient7"]
    assert stems(evaluation_cases(root, split, "reward")) == ["patient4", "patient5"]
    assert chosen(root, split) == {"train": [f"patient{n}" for n in range(4)], "validate": ["patient4", "patient5"]}


PATIENTS = {"train": ["p0_a", "p0_b", "p1_a"], "reward": ["p2_a"], "test": ["p3_a", "p4_a"]}
SCANS = {name: seed for seed, name in enumerate(name for names in PATIENTS.values() for name in names)}


def test_a_new_image_of_a_patient_has_the_use_of_the_patients_other_images(tmp_path, caplog):
    digests = {name: image_digest(image(seed)[..., None]) for name, seed in SCANS.items()}
    split = split_file(tmp_path, **PATIENTS, digests=digests, group=r"(p\d+)_")
    new = {"p0_c": 40, "p2_c": 42, "p3_c": 43, "p4_a": 44, "p9_a": 45, "other": 46}
    root = dataset(tmp_path / "data", {**SCANS, **new})
    assert stems(evaluation_cases(root, split)) == ["other", "p3_a", "p3_c", "p4_a", "p9_a"]
    assert "2 case(s) show patients that training or reward saw, and are left out: p0_c, p2_c" in caplog.text
    assert stems(evaluation_cases(root, split, "test")) == ["p3_a"]
    assert len(evaluation_cases(root, split, "all")) == 11
    assert chosen(root, split) == {
        "train": ["other", "p0_a", "p0_b", "p0_c", "p1_a", "p9_a"],
        "validate": ["p2_a", "p2_c"],
    }
    assert "2 case(s) show patients of the search's test cases, and stay unseen as well: p3_c, p4_a" in caplog.text


def test_of_new_patients_none_trains_and_judges(tmp_path):
    split = split_file(tmp_path, **PATIENTS, digests={"p0_a": "1x1x1x1-0"}, group=r"(p\d+)_")
    scans = [f"p{patient}_{scan}" for patient in range(10, 16) for scan in "ab"]
    root = dataset(tmp_path / "data", {name: 50 + seed for seed, name in enumerate(scans)})
    judges = ["p10_a", "p10_b", "p15_a", "p15_b"]
    assert chosen(root, split) == {"train": [name for name in scans if name not in judges], "validate": judges}


def test_the_bundle_is_told_of_the_groups(tmp_path):
    root = dataset(tmp_path / "data", SCANS)
    study = open_study(root, tmp_path / "out", fold=0, num_folds=5, reward_fraction=0.25, seed=0, group=r"(p\d+)_")
    assert study.group == r"(p\d+)_"


def test_without_digests_cases_go_by_their_names(tmp_path):
    root = dataset(tmp_path / "data", {"c0": 50, "c5": 51, "c6": 52, "x": 53})
    split = split_file(tmp_path, digests={})
    assert stems(evaluation_cases(root, split)) == ["c6", "x"]
    assert chosen(root, split) == {"train": ["c0", "x"], "validate": ["c5"]}


def test_cases_left_out_for_their_faults_stay_out(tmp_path):
    root = dataset(tmp_path / "data", {**OWN, "bad": 30, "unread": 31, "c1": 1})
    digests = {**OWN, "bad": 30}
    digests = {name: image_digest(image(seed)[..., None]) for name, seed in digests.items()}
    split = split_file(tmp_path, skipped=["bad", "unread"], digests=digests)
    assert stems(evaluation_cases(root, split)) == ["c6", "c7"]
    other = dataset(tmp_path / "other", {"bad": 60, "c0": 0})
    assert stems(evaluation_cases(other, split)) == ["bad"]


@pytest.mark.parametrize("skipped", [[], ["unread", "gone"]])
def test_cases_whose_files_are_missing_are_named_and_the_others_used(tmp_path, caplog, skipped):
    root = dataset(tmp_path / "data", {**OWN, "unread": 60, "new": 61, "incomplete": 62, "gone": 63})
    for name in ("incomplete", "gone"):
        (root / f"labelsTr/{name}.nii.gz").unlink()
    split = split_file(tmp_path, skipped=skipped)
    found = training_cases(root, split)
    others = [] if skipped else ["unread"]
    assert stems(found["train"]) == ["c0", "c1", "c2", "c3", "new", *others]
    assert stems(found["validate"]) == ["c4", "c5"]
    faults = [f"'{name}': " for name in (["incomplete"] if skipped else ["gone", "incomplete"])]
    assert len(found["train"].left_out) == len(faults)
    assert all(told.startswith(fault) for told, fault in zip(found["train"].left_out, faults, strict=True))
    assert f"left out: {found['train'].left_out[0]}" in caplog.text
    with pytest.raises(DatasetError, match=rf"^{len(faults)} case\(s\) were left out: {faults[0]}.*missing"):
        tell_left_out(found["train"])
    judged = evaluation_cases(root, split)
    assert stems(judged) == ["c6", "c7", "new", *others]
    volumes = SoundVolumes(judged, lambda item: item, what="evaluated")
    volumes.begin()
    assert len(list(volumes)) == len(judged)
    with pytest.raises(DatasetError, match=rf"^{len(faults)} of {len(judged) + len(faults)} volume\(s\) could not be"):
        volumes.end()


def test_where_nothing_is_left_out_nothing_is_told(tmp_path):
    tell_left_out(training_cases(dataset(tmp_path / "data", OWN), split_file(tmp_path))["train"])
    tell_left_out([{"image": "a", "label": "b"}])  # MONAI Label's own


def test_new_cases_that_are_left_out_are_named(tmp_path, caplog):
    root = dataset(tmp_path / "data", {"c6": 6, "unread": 60, "new": 61, "incomplete": 62, "gone": 63})
    for name in ("incomplete", "gone"):
        (root / f"labelsTr/{name}.nii.gz").unlink()
    split = split_file(tmp_path, skipped=["unread", "gone"])
    assert stems(evaluation_cases(root, split)) == ["c6", "new"]
    assert "1 case(s) are left out, as the search could not read cases of these names: unread" in caplog.text
    assert "left out: 'incomplete': " in caplog.text


def test_the_copy_that_the_search_left_out_does_not_hide_the_case(tmp_path):
    digests = {name: image_digest(image(seed)[..., None]) for name, seed in {**OWN, "copy": 6}.items()}
    split = split_file(tmp_path, skipped=["copy"], digests=digests)
    assert stems(evaluation_cases(dataset(tmp_path / "data", OWN), split)) == ["c6", "c7"]


def test_test_cases_alone_are_not_trained_on(tmp_path):
    root = dataset(tmp_path / "data", {"c6": 6, "c7": 7})
    with pytest.raises(DatasetError, match=r"has 0 case\(s\) for training and 0 for validation, but both are needed"):
        training_cases(root, split_file(tmp_path))


def test_where_all_files_are_missing_that_is_the_reason_told(tmp_path):
    root = dataset(tmp_path / "data", {"c6": 6, "new": 20})
    for name in ("c6", "new"):
        (root / f"labelsTr/{name}.nii.gz").unlink()
    split = split_file(tmp_path)
    told = r"2 case\(s\) were left out: 'c6': the label file 'labelsTr/c6\.nii\.gz' is missing; 'new': "
    with pytest.raises(DatasetError, match=rf"holds no case for evaluation_use=unseen: {told}"):
        evaluation_cases(root, split)
    with pytest.raises(DatasetError, match=rf"but both are needed: {told}"):
        training_cases(root, split)


def test_a_study_records_what_a_verification_finds(tmp_path):
    root = dataset(tmp_path / "data", OWN)
    study = open_study(root, tmp_path / "out", fold=0, num_folds=4, reward_fraction=0.25, seed=0)
    assert study.digests == {f"c{n}": image_digest(image(n)[..., None]) for n in range(8)}
    (root / "imagesTr/c3.nii.gz").write_bytes(b"no volume")
    cases = read_msd(root).cases
    assert known_cases(cases, study.digests) == {f"c{n}": f"c{n}" for n in range(8) if n != 3}
    assert [case["name"] for case in verify_dataset(read_msd(root))[0]["cases"] if "digest" not in case] == ["c3"]


@pytest.mark.parametrize("cases", [evaluation_cases, training_cases])
@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"background": 0, "Organ ": 2, "cyst": 1}, "the label 'cyst' is 1 in '.*' and 2 in the bundle: renumber"),
        ({"background": 0, "organ": 1, "ignore": 2}, "2 is to be ignored in '.*' and 'cyst' in the bundle: renumber"),
    ],
)
def test_labels_of_other_values_are_refused(tmp_path, cases, labels, told):
    root = dataset(tmp_path / "data", OWN)
    split = split_file(tmp_path, labels={"0": "background", "1": "organ", "2": "cyst"})
    assert cases(root, split)
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, "labels": labels}))
    with pytest.raises(DatasetError, match=told):
        cases(root, split)


@pytest.mark.parametrize("cases", [evaluation_cases, training_cases])
def test_a_value_with_another_name_is_told(tmp_path, cases, caplog):
    root = dataset(tmp_path / "data", OWN)
    split = split_file(tmp_path, labels={"0": "background", "1": "Organ", "2": "cyst"})
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, "labels": {"air": 0, "organ": 1, "nodule": 2}}))
    assert cases(root, split)
    told = [record.getMessage() for record in caplog.records if "label" in record.getMessage()]
    assert told == [f"label 2 is 'nodule' in '{root}' and 'cyst' in the bundle"]

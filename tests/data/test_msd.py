# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from monai_ronas.data import DatasetError, read_msd


def test_reads_what_dataset_json_says(maker):
    maker.add("b")
    maker.add("a", suffix=".nii")
    maker.content |= {"labels": {"0": "background", "2": "cyst", "1": "organ"}, "modality": {"1": "T2", "0": "T1"}}
    dataset = read_msd(maker.write())
    assert [case.name for case in dataset.cases] == ["a", "b"]
    assert [case.image.name for case in dataset.cases] == ["a.nii", "b.nii.gz"]
    assert all(case.image.is_file() and case.label.is_file() for case in dataset.cases)
    assert (dataset.name, dataset.licence) == ("Toy", "none")
    assert dataset.modality == {0: "T1", 1: "T2"}
    assert dataset.labels == {0: "background", 1: "organ", 2: "cyst"}
    assert (dataset.in_channels, dataset.out_channels, dataset.foreground) == (2, 3, ("organ", "cyst"))


def test_reads_the_words_of_nnunet(maker):
    maker.add("a")
    del maker.content["modality"]
    maker.content |= {"labels": {"background": 0, "organ": 1}, "channel_names": {"0": "CT"}}
    dataset = read_msd(maker.write())
    assert dataset.labels == {0: "background", 1: "organ"}
    assert dataset.modality == {0: "CT"}


def test_ignores_resource_forks_and_finds_unpacked_files(maker):
    maker.add("a", suffix=".nii")
    maker.content["training"][0]["image"] = "./imagesTr/a.nii.gz"
    maker.content["training"].append({"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"})
    (case,) = read_msd(maker.write()).cases
    assert (case.name, case.image.name) == ("a", "a.nii")


def test_linked_files_are_inside(maker, tmp_path: Path):
    maker.add("a")
    image = maker.write() / "imagesTr" / "a.nii.gz"
    image.rename(tmp_path / "elsewhere.nii.gz")
    image.symlink_to(tmp_path / "elsewhere.nii.gz")
    assert len(read_msd(maker.root).cases) == 1


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a.nii.gz", "imagesTr/b.nii"], ["a", "b"]),
        (["case_0/imaging.nii.gz", "case_1/imaging.nii.gz"], ["case_0", "case_1"]),
        (["./d/case_0/t1/imaging.nii", "d/case_1/t1/imaging.nii"], ["case_0", "case_1"]),
        (["p1/day1/t1.nii", "p1/day2/t1.nii", "p2/day1/t1.nii"], ["p1_day1", "p1_day2", "p2_day1"]),
        (["x/a.nii", "x/b.nii", "y/a.nii"], ["x_a", "x_b", "y_a"]),
        (["a.nii", "x/a.nii"], ["a", "x_a"]),
        (["a/a.nii", "a/a/a.nii"], ["a", "a_a"]),
        (["a_b/c.nii", "a/b_c.nii", "a/c.nii"], ["a_b/c", "a/b_c", "a/c"]),
    ],
)
def test_cases_are_named_by_what_tells_them_apart(maker, images, names):
    for image in images:
        path = maker.root / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    maker.content["training"] = [{"image": image, "label": image} for image in images]
    dataset = read_msd(maker.write())
    paths = {case.name: case.image for case in dataset.cases}
    assert paths == {name: maker.root / image for name, image in zip(names, images, strict=True)}


def test_a_case_in_a_folder_of_its_own_that_is_listed_twice(maker):
    test_cases_are_named_by_what_tells_them_apart(maker, ["a/i.nii", "b/i.nii"], ["a", "b"])
    maker.content["training"].append(maker.content["training"][0])
    assert read_msd(maker.write(), strict=False).faults == (("a", "the case is listed more than once"),)


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "Liver", "2": "liver"},
        {"background": 0, "liver": 1, "LIVER ": 2},
        {"0": "background", "1": "x", "2": "Background"},
        {"0": "background", "1": "straße", "2": "STRASSE"},
    ],
)
def test_two_labels_of_one_name_are_refused(maker, labels):
    maker.add("a")
    maker.content["labels"] = labels
    with pytest.raises(DatasetError, match=r"have one name twice \('.*' and '.*'"):
        read_msd(maker.write())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "has no labels"),
        ({"labels": {"0": "background"}}, "background alone"),
        ({"labels": {"organ": 1, "cyst": 1, "background": 0}}, r"different numbers from 0.* received \[0, 1, 1\]"),
        ({"labels": {"1": "organ", "2": "cyst"}}, r"received \[1, 2\]"),
        ({"labels": {"0": "background", "65536": "organ"}}, r"to 65535, received \[0, 65536\]"),
        ({"labels": {"background": 0, "ignore": 1}}, "background alone"),
        ({"labels": {"whole": [1, 2], "background": 0}}, "give 'whole' several values, a region, .* one value"),
        ({"labels": {"whole": "all", "background": 0}}, "whole numbers"),
        ({"modality": {}}, "no modality"),
        ({"modality": {"1": "MRI"}}, "channels 0..n"),
        ({"training": None}, "no training list"),
        ({"training": []}, "is empty"),
        ({"training": [{"image": "a.nii"}]}, "image and label paths"),
        (
            {"training": [{"image": "./x/a.nii", "label": "./x/b.nii"}]},
            r"has a fault in 'a': the image file './x/a\.nii' is missing",
        ),
        ({"training": [{"image": "../a.nii", "label": "b.nii"}]}, "image '../a.nii' lies outside"),
        ({"training": [{"image": "/a.nii", "label": "b.nii"}]}, "image '/a.nii' lies outside"),
        ({"training": [{"image": "a.png", "label": "b.nii"}]}, r"neither \.nii\.gz, \.nii, .* nor \.mhd, or a folder"),
    ],
)
def test_contradictions_are_one_sentence(maker, change, message):
    maker.add("a")
    maker.content |= change
    with pytest.raises(DatasetError, match=message) as caught:
        read_msd(maker.write())
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "}."))


def test_duplicate_cases(maker):
    maker.add("a")
    maker.content["training"] *= 2
    with pytest.raises(DatasetError, match="fault in 'a': the case is listed more than once"):
        read_msd(maker.write())


def test_folder_and_file_errors(tmp_path: Path):
    with pytest.raises(DatasetError, match="nowhere' is not a folder"):
        read_msd(tmp_path / "nowhere")
    (tmp_path / "._dataset.json").touch()
    with pytest.raises(DatasetError, match="is empty"):
        read_msd(tmp_path)
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DatasetError, match=r"has no dataset\.json"):
        read_msd(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": ')
    with pytest.raises(DatasetError, match="not valid JSON"):
        read_msd(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(DatasetError, match="JSON object, not a list"):
        read_msd(tmp_path)


def test_real_data(real_data: Path):
    dataset = read_msd(real_data)
    assert len(dataset.cases) == 208
    assert dataset.foreground == ("Anterior", "Posterior")


@pytest.mark.parametrize(
    ("labels", "expected", "ignored"),
    [
        ({"background": 0, "organ": 1, "ignore": 2}, {0: "background", 1: "organ"}, 2),
        ({"0": "background", "4": "cyst", "1": "organ"}, {0: "background", 1: "organ", 4: "cyst"}, None),
        ({"0": "background", "300": "organ", "7": "Ignore"}, {0: "background", 300: "organ"}, 7),
    ],
)
def test_values_may_have_holes_and_one_may_be_ignored(maker, labels, expected, ignored):
    maker.add("a")
    maker.content["labels"] = labels
    dataset = read_msd(maker.write())
    assert dataset.labels == expected
    assert list(dataset.labels) == sorted(expected)
    assert dataset.ignore_label == ignored
    assert dataset.out_channels == len(expected)

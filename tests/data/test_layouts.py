# SPDX-License-Identifier: Apache-2.0
"""Data sets in the layouts that people have: which files make a case, and what is said where some are missing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from monai_ronas.data import DatasetError, read_msd
from monai_ronas.data.case_names import joint_path
from monai_ronas.data.msd import listed_images
from tests.volume_files import write_series

NNUNET = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def declare(root: Path, content: dict) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def paths(root: Path) -> dict[str, tuple]:
    """Name to the images and the label of the cases, below the folder."""
    return {
        case.name: (*(str(p.relative_to(root)) for p in case.images), str(case.label.relative_to(root)))
        for case in read_msd(root).cases
    }


def test_nnunet_has_a_file_a_channel_and_no_listing(tmp_path):
    files = [f"imagesTr/{name}_{k:04d}.nii.gz" for name in ("b", "a_1") for k in (0, 1)]
    touch(
        tmp_path, *files, "labelsTr/a_1.nii.gz", "labelsTr/b.nii.gz", "imagesTr/notes.txt", "imagesTr/._b_0000.nii.gz"
    )
    touch(tmp_path, "imagesTs/c_0000.nii.gz", "imagesTs/c_0001.nii.gz")
    declare(tmp_path, {**NNUNET, "numTraining": 2})
    assert paths(tmp_path) == {
        "a_1": ("imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz", "labelsTr/a_1.nii.gz"),
        "b": ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/b.nii.gz"),
    }
    dataset = read_msd(tmp_path)
    assert (dataset.layout, dataset.in_channels, dataset.labels) == ("nnU-Net", 2, {0: "background", 1: "organ"})
    assert dataset.formats == {"image": ["NIfTI"], "label": ["NIfTI"]}
    assert [[path.name for path in image] for image in listed_images(tmp_path)[0]] == [
        [f"{name}_0000.nii.gz", f"{name}_0001.nii.gz"] for name in ("a_1", "b", "c")
    ]


@pytest.mark.parametrize(
    ("content", "files", "image"),
    [
        ({"file_ending": ".mha"}, ["imagesTr/a_0000.mha", "imagesTr/a_0000.nii", "labelsTr/a.mha"], "a_0000.mha"),
        ({"file_ending": None}, ["imagesTr/a_0000.nrrd", "labelsTr/a.nii"], "a_0000.nrrd"),
        (
            {"channel_names": None, "modality": {"0": "CT"}},
            ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"],
            "a_0000.nii.gz",
        ),
        ({"labels": {"0": "background", "1": "x"}}, ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"], "a_0000.nii.gz"),
        (
            {"dataset": {"a": {"images": ["x/1.nii", "x/2.nii"], "label": "y/1.nii"}}},
            ["x/1.nii", "x/2.nii", "y/1.nii"],
            "1.nii",
        ),
        (
            {"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]},
            ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"],
            "a_0000.nii.gz",
        ),
    ],
)
def test_variants_of_nnunet(tmp_path, content, files, image):
    declare(touch(tmp_path, *files), {key: value for key, value in {**NNUNET, **content}.items() if value is not None})
    (case,) = read_msd(tmp_path).cases
    assert (case.name, case.images[0].name) == ("a", image)
    case.label.unlink()
    assert listed_images(tmp_path) == ([case.images], [])


def test_the_channels_of_nnunet_may_be_dicom_series(tmp_path):
    for k in (0, 1):
        write_series(tmp_path / f"imagesTr/a_{k:04d}", np.ones((3, 3, 2)), np.eye(4))
    declare(touch(tmp_path, "labelsTr/a.nii.gz"), NNUNET)
    assert paths(tmp_path) == {"a": ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a.nii.gz")}
    assert read_msd(tmp_path).formats == {"image": ["DICOM"], "label": ["NIfTI"]}


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (["imagesTr/b_0000.nii.gz"], ("b", "the label file 'labelsTr/b.nii.gz' is missing")),
        (["labelsTr/b.nii.gz"], ("b", "the label has no image in imagesTr")),
        (["imagesTr/b_0001.nii.gz", "labelsTr/b.nii.gz"], ("b", "the image of channel 0 ('b_0000') is missing")),
        (["imagesTr/b.nii.gz"], ("b", "the image 'b.nii.gz' has no number of its channel, such as _0000")),
    ],
)
def test_faults_of_nnunet(tmp_path, files, fault):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", *files)
    dataset = read_msd(declare(tmp_path, NNUNET), strict=False)
    assert [case.name for case in dataset.cases] == ["a"]
    assert dataset.faults == (fault,)
    with pytest.raises(DatasetError, match=f"has a fault in 'b': {fault[1][:20]}"):
        read_msd(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the file system refuses names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_a_fault(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    touch(tmp_path, f"imagesTr/{odd}_0000.nii.gz", f"labelsTr/{odd}.nii.gz")
    dataset = read_msd(declare(tmp_path, NNUNET), strict=False)
    assert [case.name for case in dataset.cases] == ["a"]
    assert dataset.faults == ((r"caf\udce9", "the names of its files are not UTF-8: rename them"),)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the file system refuses names that are not UTF-8")
def test_a_folder_whose_name_is_not_utf8_gives_a_name_that_is(tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    touch(root, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    assert read_msd(declare(root, NNUNET)).name == "caf?"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the file system may not tell capitals apart")
def test_a_label_with_digits_at_the_end_and_a_capital_ending_is_told_of_its_case(tmp_path):
    touch(tmp_path, "imagesTr/la_0001_0000.nii.gz", "labelsTr/la_0001.NII.GZ")
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    dataset = read_msd(declare(tmp_path, NNUNET), strict=False)
    assert {case for case, _ in dataset.faults} == {"la_0001"}


def test_two_files_of_one_channel_or_label(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii", "imagesTr/a_0000.mha", "labelsTr/a.nii", "labelsTr/a.mha")
    declare(tmp_path, {key: value for key, value in NNUNET.items() if key != "file_ending"})
    assert read_msd(tmp_path, strict=False).faults == (
        ("a", "channel 0 has two files, 'a_0000.mha' and 'a_0000.nii'"),
        ("a", "the case has two label files, 'a.mha' and 'a.nii'"),
    )


def test_other_numbers_and_endings_are_told(tmp_path, caplog):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    read_msd(declare(tmp_path, {**NNUNET, "numTraining": 3}))
    assert "says numTraining 3, imagesTr holds 1 cases" in caplog.text
    with pytest.raises(DatasetError, match=r"file_ending in dataset\.json must be one of .*, received '\.png'"):
        read_msd(declare(tmp_path, {**NNUNET, "file_ending": ".png"}))
    with pytest.raises(DatasetError, match=r"imagesTr' holds no case, such as 'case_0000\.nrrd'"):
        read_msd(declare(tmp_path, {**NNUNET, "file_ending": ".nrrd"}))
    with pytest.raises(DatasetError, match="has no training list"):
        read_msd(declare(tmp_path / "other", NNUNET))


def test_files_that_file_ending_leaves_out_are_told(tmp_path, caplog):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/notes.txt")
    declare(tmp_path, NNUNET)
    assert list(paths(tmp_path)) == ["a"]
    assert not caplog.messages
    touch(tmp_path, "imagesTr/b_0000.nrrd", "imagesTr/c_0000.nii", "labelsTr/b.nrrd")
    assert list(paths(tmp_path)) == ["a"]
    told = "'%s' holds %d file(s), such as '%s', that are not used, as file_ending in dataset.json is .nii.gz"
    assert caplog.messages == [
        told % (tmp_path / "imagesTr", 2, "b_0000.nrrd"),
        told % (tmp_path / "labelsTr", 1, "b.nrrd"),
    ]


MSD = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "organ"}}


def test_a_folder_per_case(tmp_path):
    names = ["case_00000", "case_00001"]
    touch(tmp_path, *(f"data/{name}/{what}.nii.gz" for name in names for what in ("imaging", "segmentation")))
    entries = [{"image": f"data/{name}/imaging.nii.gz", "label": f"data/{name}/segmentation.nii.gz"} for name in names]
    tests = [entries[0]["image"], "gone.nii", 3, "data/._forked.nii"]
    dataset = read_msd(declare(tmp_path, {**MSD, "training": entries, "test": tests}))
    assert [case.name for case in dataset.cases] == names
    assert dataset.layout == "folder per case"
    (tmp_path / entries[0]["label"]).unlink()
    images, faults = listed_images(tmp_path)
    assert [str(image.relative_to(tmp_path)) for (image,) in images] == [entries[n]["image"] for n in (0, 1, 0)]
    assert faults == [
        "the image file 'gone.nii' is missing (listed in dataset.json)",
        "in dataset.json an image path is needed, received {'image': 3}",
    ]


@pytest.mark.parametrize("stems", [["t1", "t1ce", "flair"], ["BraTS_{}_t1", "BraTS_{}_t1ce", "BraTS_{}_flair"]])
def test_a_file_per_channel_in_a_folder_per_case(tmp_path, stems):
    entries = []
    for number in (1, 2):
        files = [f"BraTS_{number}/{stem.format(number)}.nrrd" for stem in stems]
        touch(tmp_path, *files, f"BraTS_{number}/seg.nrrd")
        entries.append({"image": files, "label": f"BraTS_{number}/seg.nrrd"})
    dataset = read_msd(declare(tmp_path, {**MSD, "training": entries}))
    assert [case.name for case in dataset.cases] == ["BraTS_1", "BraTS_2"]
    assert [path.stem for path in dataset.cases[1].images] == [stem.format(2) for stem in stems]
    assert (dataset.layout, dataset.formats["image"]) == ("folder per case", ["NRRD"])


def test_series_in_a_folder_per_case(tmp_path):
    for number in (1, 2):
        write_series(tmp_path / f"p{number}/ct", np.ones((3, 3, 2)), np.eye(4))
    touch(tmp_path, "p1/seg.mha", "p2/seg.mha", "p2/empty/notes.txt")
    entries = [{"image": f"p{number}/ct", "label": f"p{number}/seg.mha"} for number in (1, 2)]
    dataset = read_msd(declare(tmp_path, {**MSD, "training": entries}))
    assert [case.name for case in dataset.cases] == ["p1", "p2"]
    assert dataset.layout == "folder per case"
    assert dataset.formats == {"image": ["DICOM"], "label": ["MetaImage"]}
    entries[1]["image"] = "p2/empty"
    with pytest.raises(DatasetError, match="in 'empty': the image 'p2/empty' is a folder without DICOM files"):
        read_msd(declare(tmp_path, {**MSD, "training": entries}))


def test_a_missing_channel_is_named(tmp_path):
    touch(tmp_path, "a/t1.nii", "a/seg.nii")
    declare(tmp_path, {**MSD, "training": [{"image": ["a/t1.nii", "a/t2.nii"], "label": "a/seg.nii"}]})
    with pytest.raises(DatasetError, match=r"in 'a': the image file 'a/t2\.nii' is missing"):
        read_msd(tmp_path)


@pytest.mark.parametrize(
    ("images", "joint"),
    [
        (["x/a.nii"], "x/a.nii"),
        (["x/a_0000.nii", "x/a_0001.nii"], "x/a"),
        (["x/a-t1.nii", "x/a-flair.nii"], "x/a"),
        (["x/t1.nii", "x/t2.nii"], "x"),
        (["t1.nii", "t2.nii"], "t1.nii"),
        (["t1/a.nii", "t2/a.nii"], "a"),
        (["x/t1/1.nii", "x/t2/2.nii"], "x"),
    ],
)
def test_a_path_stands_for_the_channels(images, joint):
    assert joint_path(images) == joint


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (["imagesTr/T1_{}.nii", "imagesTr/T2_{}.nii"], ["T1_1", "T1_2", "T1_3"]),
        (["images/T1/{}_T1.nii", "images/FLAIR/{}_FLAIR.nii"], ["1_T1", "2_T1", "3_T1"]),
        (["imagesTr/{}T1.nii", "imagesTr/{}T2.nii"], ["1T1", "2T1", "3T1"]),
        (["{}/t1.nii", "{}/t2.nii"], ["1", "2", "3"]),
    ],
)
def test_cases_whose_channels_share_a_folder_have_names_of_their_own(tmp_path, channels, names):
    training = []
    for number in (1, 2, 3):
        entry = {"image": [path.format(number) for path in channels], "label": f"labelsTr/{number}.nii"}
        touch(tmp_path, *entry["image"], entry["label"])
        training.append(entry)
    declare(tmp_path, {**MSD, "training": training})
    found = read_msd(tmp_path).cases
    assert [case.name for case in found] == names
    assert [case.label.name for case in found] == ["1.nii", "2.nii", "3.nii"]
    declare(tmp_path, {**MSD, "training": [*training, training[0]]})
    with pytest.raises(DatasetError, match="the case is listed more than once"):
        read_msd(tmp_path)

# SPDX-License-Identifier: Apache-2.0
"""Which volumes of a data set are segmented, and those whose channels have files of their own."""

import json

import numpy as np
import pytest

from monai_ronas.bundle import PredictionFiles, list_volumes
from monai_ronas.data import DatasetError
from tests.bundle.small_volumes import save, segment, volume


def test_channels_of_a_file_each_are_one_volume(tmp_path):
    for name in ("a", "b/c"):
        for channel in (0, 1):
            save(tmp_path / f"in/{name}_{channel:04d}.nii.gz", volume(channel))
    save(tmp_path / "in/d.nii.gz", np.stack([volume(), volume(1)], -1))
    save(tmp_path / "in/e_0000.nii.gz", volume())
    sentence = segment(tmp_path / "in", tmp_path / "out", channels=2)
    assert "1 of 4 volume(s) could not be segmented: 'e_0000.nii.gz': the image has 1 channel(s)" in sentence
    found = [str(p.relative_to(tmp_path / "out")) for p in sorted((tmp_path / "out").rglob("*.gz"))]
    assert found == ["a_seg.nii.gz", "b/c_seg.nii.gz", "d_seg.nii.gz"]


@pytest.mark.parametrize("given", ["a_0000.nii.gz", "a_0001.nii.gz"])
def test_the_file_of_a_channel_stands_for_all_of_them(tmp_path, given):
    for channel in (0, 1):
        save(tmp_path / f"in/a_{channel:04d}.nii.gz", volume(channel))
    assert segment(tmp_path / "in" / given, tmp_path / "out", channels=2) is None
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]


def test_the_images_of_a_data_set_are_meant_and_not_its_labels(tmp_path):
    for name in ("imagesTr/a.nii", "labelsTr/a.nii", "imagesTs/b.nii"):
        save(tmp_path / name)
    content = {"training": [{"image": "imagesTr/a.nii", "label": "labelsTr/a.nii"}], "test": ["imagesTs/b.nii"]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert list_volumes(tmp_path) == [str(tmp_path / name) for name in ("imagesTr/a.nii", "imagesTs/b.nii")]


@pytest.mark.parametrize("there", [1, 0])
def test_images_of_a_data_set_that_are_missing_are_named_and_the_others_segmented(tmp_path, caplog, there):
    names = [f"imagesTr/{name}.nii" for name in "ab"]
    for name in names[:there]:
        save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [], "test": names}))
    faults = [f"the image file '{name}' is missing (listed in dataset.json)" for name in names[there:]]
    sentence = segment(tmp_path, tmp_path / "out")
    assert sentence == f"{2 - there} of 2 volume(s) could not be segmented: {'; '.join(faults)}."
    assert all(f"left out: {fault}" in caplog.text for fault in faults)
    assert [path.name for path in (tmp_path / "out").rglob("*.gz")] == ["a_seg.nii.gz"][:there]


def test_images_of_nnunet_that_are_incomplete_are_named_and_the_others_segmented(tmp_path):
    for name in ("imagesTr/a_0000.nii", "imagesTs/b_0001.nii"):
        save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI"}, "file_ending": ".nii"}))
    sentence = segment(tmp_path, tmp_path / "out")
    assert sentence.startswith("1 of 2 volume(s) could not be segmented: 'b' in imagesTs: ")
    assert [path.name for path in (tmp_path / "out").rglob("*.gz")] == ["a_0000_seg.nii.gz"]


def test_a_prediction_does_not_take_the_place_of_a_label(tmp_path):
    for name in ("p/ct.nii.gz", "p/ct_seg.nii.gz"):
        save(tmp_path / name, volume(1))
    content = {"training": [{"image": "p/ct.nii.gz", "label": "./p/ct_seg.nii.gz"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    label = tmp_path / "p" / "ct_seg.nii.gz"
    before = label.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for out in (tmp_path, tmp_path / "link"):
        with pytest.raises(
            DatasetError, match=r"^the prediction for 'ct\.nii\.gz' would replace the label '.*': give "
        ):
            list_volumes(tmp_path, PredictionFiles(tmp_path, out))
    assert label.read_bytes() == before
    images = [str(tmp_path / "p" / "ct.nii.gz")]
    assert list_volumes(tmp_path, PredictionFiles(tmp_path, tmp_path / "out")) == images
    assert list_volumes(tmp_path, PredictionFiles(tmp_path, tmp_path, output_ext=".mha")) == images

# SPDX-License-Identifier: Apache-2.0
"""Voxels that nobody has labelled, and values with holes: from dataset.json to the training crops."""

import json

import numpy as np
import pytest
import torch

from monai_ronas.data import ClassIndicesd, build_dataset, build_preprocessing, open_study, read_msd, verify_dataset
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.fingerprint import Fingerprint

SPLIT = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}
LABELS = {"0": "background", "1": "organ", "4": "cyst", "9": "ignore"}


def label(seed=0):
    values = np.zeros((9, 8, 7), np.uint16)
    values[2:5, 2:5, 2:5] = 1
    values[5:8, 2:5, 2:5] = 4
    values[:, :, 4 + seed % 2 :] = 9
    return values


@pytest.fixture
def root(maker):
    for n in range(6):
        maker.add(f"case{n}", label=label(n))
    maker.content["labels"] = LABELS
    return maker.write()


def test_ignored_voxels_are_no_class(root, tmp_path):
    study = open_study(root, tmp_path / "out", **SPLIT)
    assert study.fingerprint.labels == {0: "background", 1: "organ", 4: "cyst"}
    assert study.fingerprint.out_channels == 3
    assert study.fingerprint.ignore_label == 9
    assert Fingerprint.from_dict(json.loads(json.dumps(study.fingerprint.to_dict()))) == study.fingerprint
    report = json.loads((tmp_path / "out/dataset_report.json").read_text())
    assert report["cases"][0]["ignored_voxels"] == 9 * 8 * 3
    assert report["cases"][0]["label_voxels"]["4"] == 3 * 3 * 2


def test_classes_are_indices_and_ignored_voxels_their_number(root, tmp_path):
    study = open_study(root, tmp_path / "out", **SPLIT)
    steps = [*build_preprocessing(study.fingerprint).transforms, ClassIndicesd("label", num_classes=3)]
    dataset = build_dataset(study.dataset.cases[:1], steps)
    found = dataset[0]["label"][0].numpy()
    expected = np.where(label() == 4, 2, np.where(label() == 9, 3, label()))
    np.testing.assert_array_equal(found, expected[tuple(slice(n) for n in found.shape)])
    drawn = dataset[0]["label"].flatten()[dataset[0]["label_class_indices"].long()]
    assert sorted(set(drawn.tolist())) == [1, 2]
    assert dataset[0]["label_class_counts"].sum() == len(drawn) == (found == 1).sum() + (found == 2).sum()


def test_statistics_leave_ignored_voxels_out(maker):
    image = np.random.default_rng(0).uniform(0, 1, (9, 8, 7)).astype(np.float32)
    image[label() == 9] = 1000.0
    maker.add("case", image=image, label=label())
    maker.content["labels"] = LABELS
    _, (stats,) = verify_dataset(read_msd(maker.write()))
    assert stats.intensity_mean[0] == pytest.approx(image[(label() == 1) | (label() == 4)].mean(), rel=1e-6)
    assert set(stats.label_voxels) == {0, 1, 4}


def test_cases_with_ignored_voxels_alone_have_no_foreground(maker, tmp_path):
    for n in range(6):
        maker.add(f"case{n}", label=np.where(label() == 9, 9, 0).astype(np.uint16))
    maker.content["labels"] = LABELS
    with pytest.raises(DatasetError, match=r"0 of the 4 case\(s\) outside the test fold have foreground"):
        open_study(maker.write(), tmp_path / "out", **SPLIT)


def test_other_values_are_still_refused(root, maker, tmp_path):
    maker.add("bad", label=np.where(label() == 4, 2, label()))
    with pytest.raises(DatasetError, match=r"'bad': the label holds 2, which dataset.json does not declare"):
        open_study(maker.write(), tmp_path / "out", **SPLIT)
    study = open_study(root, tmp_path / "out", **SPLIT, skip_invalid=True)
    item = {key: str(root / f"{key}sTr/bad.nii.gz") for key in ("image", "label")}
    with pytest.raises(RuntimeError) as caught:
        build_preprocessing(study.fingerprint)(item)
    assert "holds 2, which the network does not have (declared: 0, 1, 4, 9)" in str(caught.value.__cause__)


def test_values_above_255(maker, tmp_path):
    for n in range(5):
        maker.add(f"case{n}", label=np.where(label() == 4, 300, label() % 9).astype(np.uint16))
    maker.content["labels"] = {"0": "background", "1": "organ", "300": "cyst"}
    study = open_study(maker.write(), tmp_path / "out", **SPLIT)
    found = build_dataset(study.dataset.cases[:1], build_preprocessing(study.fingerprint))[0]["label"]
    assert found.dtype == torch.uint8
    assert found.unique().tolist() == [0, 1, 2]

# SPDX-License-Identifier: Apache-2.0
"""A small search on the hippocampus volumes of the Medical Segmentation Decathlon, from the command to predictions."""

import csv
import json

import nibabel as nib
import numpy as np

from monai_ronas.handlers import read_history

from .conftest import run_bundle


def test_children_are_scored_on_reward_cases(searched):
    report = json.loads((searched / "dataset_report.json").read_text())
    assert len(report["split"]["test"]) == 42
    history = read_history(searched / "history.jsonl")
    assert len(history) == 3
    assert all(set(line["cases"]) <= set(report["split"]["reward"]) for line in history)


def test_held_out_fold_is_measured(searched, real_data, tmp_path):
    bundle = searched / "ronas_segmentation"
    done = run_bundle(
        *("run", "--config_file", str(bundle / "configs" / "evaluate.json"), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(real_data), "--output_dir", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "mean_dice_raw.csv").open() as file:
        rows = list(csv.DictReader(file))
    split = json.loads((searched / "dataset_report.json").read_text())["split"]
    assert {row["filename"].split("/")[-1].removesuffix(".nii.gz") for row in rows} == set(split["test"])
    assert np.mean([float(row["mean"]) for row in rows]) > 0.3  # 160 steps of a very small network


def test_predictions_lie_on_their_images(searched, real_data, tmp_path):
    split = json.loads((searched / "dataset_report.json").read_text())["split"]
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in split["test"][:3]:
        (volumes / f"{name}.nii.gz").write_bytes((real_data / "imagesTr" / f"{name}.nii.gz").read_bytes())
    bundle = searched / "ronas_segmentation"
    done = run_bundle(
        *("run", "--config_file", str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(volumes), "--output_dir", str(tmp_path / "out")),
    )
    assert done.returncode == 0, done.stderr
    for name in split["test"][:3]:
        image, label = (nib.load(real_data / folder / f"{name}.nii.gz") for folder in ("imagesTr", "labelsTr"))
        prediction = nib.load(tmp_path / "out" / f"{name}_seg.nii.gz")
        assert prediction.shape == image.shape
        np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
        found, true = (np.asanyarray(v.dataobj) > 0 for v in (prediction, label))
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.5

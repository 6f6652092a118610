# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from .conftest import run_bundle


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory):
    """The derived bundle, moved and renamed."""
    moved = tmp_path_factory.mktemp("elsewhere") / "renamed"
    shutil.copytree(finished / "ronas_segmentation", moved)
    return moved


def infer(bundle, volumes, out):
    config = str(bundle / "configs" / "inference.json")
    done = run_bundle(
        *("run", "--config_file", config, "--bundle_root", str(bundle), "--device", "cpu"),
        *("--dataset_dir", str(volumes), "--output_dir", str(out)),
    )
    assert done.returncode == 0, done.stderr
    return {p.name: nib.load(p) for p in sorted(out.iterdir())}


def test_evaluate_measures_the_test_cases_only(bundle, finished, small_phantom, tmp_path):
    config = str(bundle / "configs" / "evaluate.json")
    done = run_bundle(
        *("run", "--config_file", config, "--bundle_root", str(bundle)),
        *("--dataset_dir", str(small_phantom), "--output_dir", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    split = json.loads((finished / "dataset_report.json").read_text())["split"]
    rows = (tmp_path / "mean_dice_raw.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0].split("/")[-1].removesuffix(".nii.gz") for row in rows} == set(split["test"])
    for row in rows:
        assert all(0.0 <= float(value) <= 1.0 for value in row.split(",")[1:])


def test_prediction_has_the_geometry_of_its_image(bundle, finished, small_phantom, tmp_path):
    """Another orientation, another spacing and an odd size come back in their own geometry, segmented as well."""
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    name = json.loads((finished / "dataset_report.json").read_text())["split"]["train"][0]
    image, label = (nib.load(small_phantom / folder / f"{name}.nii.gz") for folder in ("imagesTr", "labelsTr"))
    fine = image.affine @ np.diag([1, 1, 0.5, 1])
    fine[:3, 3] += image.affine[:3, 0]
    variants = {
        "plain": lambda volume: volume,
        "turned": lambda volume: volume.as_reoriented(nib.orientations.axcodes2ornt("PIL")),
        "odd": lambda volume: nib.Nifti1Image(np.repeat(np.asanyarray(volume.dataobj), 2, axis=2)[1:, :, :-1], fine),
    }
    for key, vary in variants.items():
        nib.save(vary(image), volumes / f"{key}.nii.gz")
    predictions = infer(bundle, volumes, tmp_path / "out")
    assert set(predictions) == {f"{key}_seg.nii.gz" for key in variants}
    dice = {}
    for key, vary in variants.items():
        prediction, truth = predictions[f"{key}_seg.nii.gz"], vary(label)
        assert prediction.shape == truth.shape
        np.testing.assert_allclose(prediction.affine, truth.affine, atol=1e-4)
        found, true = (np.asanyarray(volume.dataobj) == 1 for volume in (prediction, truth))
        dice[key] = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert dice["plain"] > 0.6
    assert dice["turned"] > dice["plain"] - 0.01
    assert dice["odd"] > dice["plain"] - 0.15


def test_empty_folder_of_volumes_is_one_sentence(bundle, tmp_path):
    done = run_bundle(
        *("run", "--config_file", str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(tmp_path)),
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("monai_ronas: dataset_dir")


def test_configs_have_no_absolute_path_and_all_properties(bundle, finished, small_phantom):
    for path in (bundle / "configs").glob("*.json"):
        text = path.read_text()
        assert str(finished) not in text
        assert str(small_phantom) not in text
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(small_phantom / "imagesTr"),
    )
    workflow.initialize()
    assert workflow.check_properties() == []

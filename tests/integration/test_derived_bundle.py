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


def test_prediction_has_the_geometry_of_its_image(bundle, small_phantom, tmp_path):
    """Another orientation, spacing and odd size: the same volume gives nearly the same segmentation."""
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    source = nib.load(sorted((small_phantom / "imagesTr").iterdir())[0])
    nib.save(source, volumes / "plain.nii.gz")
    flipped = source.as_reoriented(nib.orientations.axcodes2ornt("PIL"))
    nib.save(flipped, volumes / "turned.nii.gz")
    data = source.get_fdata().astype(np.float32)
    affine = source.affine @ np.diag([1, 1, 0.5, 1])
    fine = np.repeat(data, 2, axis=2)[1:, :, :-1]
    affine[:3, 3] += source.affine[:3, 0]
    nib.save(nib.Nifti1Image(fine, affine), volumes / "odd.nii.gz")
    predictions = infer(bundle, volumes, tmp_path / "out")
    assert set(predictions) == {"plain_seg.nii.gz", "turned_seg.nii.gz", "odd_seg.nii.gz"}
    for name, prediction in predictions.items():
        image = nib.load(volumes / name.replace("_seg", ""))
        assert prediction.shape == image.shape
        np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
        assert set(np.unique(np.asanyarray(prediction.dataobj))) <= {0, 1, 2, 3}
    plain = np.asanyarray(predictions["plain_seg.nii.gz"].dataobj)
    turned = predictions["turned_seg.nii.gz"]
    back = nib.orientations.ornt_transform(
        nib.io_orientation(turned.affine), nib.io_orientation(predictions["plain_seg.nii.gz"].affine)
    )
    assert np.mean(nib.apply_orientation(np.asanyarray(turned.dataobj), back) == plain) > 0.99
    odd = np.asanyarray(predictions["odd_seg.nii.gz"].dataobj)
    assert np.mean(odd[:, :, ::2] == plain[1:]) > 0.9


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

# SPDX-License-Identifier: Apache-2.0
"""Data sets of two channels and of four foreground labels go the way of any other."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from .conftest import run_bundle, run_search


def _two_channels(image, label):
    return np.stack([image, image.max() - image], axis=-1), label


def _four_labels(image, label):
    """The first half of the organ is a label of its own."""
    half = np.arange(label.shape[0])[:, None, None] < label.shape[0] // 2
    return image, np.where((label == 1) & half, 4, label)


DATA = {
    "two channels": (_two_channels, {"modality": {"0": "T1", "1": "inverted T1"}}),
    "four labels": (_four_labels, {"labels": {"4": "half an organ"}}),
}


@pytest.fixture(params=list(DATA), scope="module")
def made(request, small_phantom, tmp_path_factory):
    """Such a data set, made of the phantom."""
    change, says = DATA[request.param]
    root = tmp_path_factory.mktemp("data") / "set"
    shutil.copytree(small_phantom, root)
    content = json.loads((root / "dataset.json").read_text())
    for key, value in says.items():
        content[key] = {**content[key], **value}
    (root / "dataset.json").write_text(json.dumps(content))
    for entry in content["training"]:
        volumes = [nib.load(root / entry[key]) for key in ("image", "label")]
        arrays = change(*(np.asanyarray(volume.dataobj) for volume in volumes))
        for key, array, volume in zip(("image", "label"), arrays, volumes, strict=True):
            nib.save(nib.Nifti1Image(array, volume.affine), root / entry[key])
    return root, content


def test_from_the_search_to_predictions(made, tmp_path):
    root, content = made
    done = run_search(root, tmp_path, episodes=1, final_epochs=120, channels="[8,12,16,24]", augment="true")
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "ronas_segmentation"
    formats = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    assert image["channel_def"] == content["modality"]
    assert image["num_channels"] == len(content["modality"])
    assert pred["channel_def"] == content["labels"]
    assert pred["num_channels"] == len(content["labels"])

    test = json.loads((tmp_path / "dataset_report.json").read_text())["split"]["test"]
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    shutil.copy(root / "imagesTr" / f"{test[0]}.nii.gz", volumes)
    common = ("--bundle_root", str(bundle), "--device", "cpu")
    config = str(bundle / "configs" / "inference.json")
    out = tmp_path / "out"
    done = run_bundle("run", "--config_file", config, *common, "--dataset_dir", str(volumes), "--output_dir", str(out))
    assert done.returncode == 0, done.stderr
    prediction, label = nib.load(out / f"{test[0]}_seg.nii.gz"), nib.load(root / "labelsTr" / f"{test[0]}.nii.gz")
    assert prediction.shape == label.shape
    np.testing.assert_allclose(prediction.affine, label.affine, atol=1e-4)
    assert set(np.unique(prediction.dataobj)) <= {int(value) for value in content["labels"]}
    assert np.unique(prediction.dataobj).size > 1

    files = str([str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")])
    done = run_bundle(
        *("run", "--config_file", files, *common, "--epochs", "1"),
        *("--dataset_dir", str(root), "--output_dir", str(tmp_path / "scores")),
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "scores" / "mean_dice_raw.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(test)
    assert {key for key in rows[0] if key.startswith("class")} == {
        f"class{n}" for n in range(len(content["labels"]) - 1)
    }

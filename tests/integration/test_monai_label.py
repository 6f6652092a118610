# SPDX-License-Identifier: Apache-2.0
"""A real MONAI Label server opens the derived bundle: information, inference, training, batch inference."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from .conftest import run_bundle
from .label_server import LabelServer, make_environment

NAME = "hippocampus"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Python of the server's environment: the one that RONAS_LABEL_PYTHON names, or one made for these tests."""
    given = os.environ.get("RONAS_LABEL_PYTHON")
    if given:
        yield Path(given)
        return
    if sys.version_info >= (3, 12):
        pytest.skip("MONAI Label 0.8.5 needs distutils, which Python 3.12 no longer has")
    folder = tmp_path_factory.mktemp("label") / "venv"
    try:
        made = make_environment(folder)
    except subprocess.CalledProcessError as error:
        if os.environ.get("CI"):
            raise RuntimeError(f"the server's environment cannot be made: {error.stderr}") from error
        pytest.skip(f"the server's environment cannot be made: {error.stderr.strip().splitlines()[-1]}")
    yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def studies(searched, real_data, tmp_path_factory):
    """Two test cases as they are, one turned and resliced, and forty labelled training cases."""
    split = json.loads((searched / "dataset_report.json").read_text())["split"]
    folder = tmp_path_factory.mktemp("studies")
    (folder / "labels" / "final").mkdir(parents=True)
    for name in split["train"][:40]:
        shutil.copy(real_data / "imagesTr" / f"{name}.nii.gz", folder)
        shutil.copy(real_data / "labelsTr" / f"{name}.nii.gz", folder / "labels" / "final")
    truths = folder.parent / "truths"
    truths.mkdir(exist_ok=True)
    for name in split["test"][:2]:
        shutil.copy(real_data / "imagesTr" / f"{name}.nii.gz", folder)
        shutil.copy(real_data / "labelsTr" / f"{name}.nii.gz", truths)
    for source, target in ((real_data / "imagesTr", folder), (real_data / "labelsTr", truths)):
        nib.save(_turned(nib.load(source / f"{split['test'][0]}.nii.gz")), target / "turned.nii.gz")
    return folder, truths, (*split["test"][:2], "turned")


def _turned(volume):
    """Every second slice of the last axis, the axes in another order and direction: neither RAS nor isotropic."""
    thick = nib.Nifti1Image(np.asanyarray(volume.dataobj)[..., ::2], volume.affine @ np.diag([1, 1, 2, 1]))
    return thick.as_reoriented(nib.orientations.axcodes2ornt("PIL"))


@pytest.fixture(scope="module")
def server(python, studies, searched, tmp_path_factory):
    """The server, with a copy of the bundle under another name."""
    folder = tmp_path_factory.mktemp("server")
    app = ("-m", "monailabel.main", "apps", "--download", "--name", "monaibundle", "--output", str(folder))
    subprocess.run([python, *app], check=True, capture_output=True)
    shutil.copytree(searched / "ronas_segmentation", folder / "monaibundle" / "model" / NAME)
    with LabelServer(python, folder, studies[0], NAME) as running:
        running.bundle = folder / "monaibundle" / "model" / NAME
        yield running


def dice(prediction, truth):
    """Dice of each label, then their mean, after a check of the geometry."""
    found, true = nib.load(prediction), nib.load(truth)
    assert found.shape == true.shape
    np.testing.assert_allclose(found.affine, true.affine, atol=1e-4)
    found, true = (np.asanyarray(volume.dataobj) for volume in (found, true))
    assert set(np.unique(found)) <= {0, 1, 2}
    scores = [2 * ((found == v) & (true == v)).sum() / ((found == v).sum() + (true == v).sum()) for v in (1, 2)]
    return float(np.mean(scores))


@pytest.fixture(scope="module")
def before(server, studies, tmp_path_factory):
    """Dice of the server's predictions before any training there."""
    _, truths, names = studies
    out = tmp_path_factory.mktemp("before")
    return {n: dice(server.infer(n, out / f"{n}.nii.gz"), truths / f"{n}.nii.gz") for n in names}


def test_the_server_knows_the_labels_and_the_trainer(server):
    info = server.info()
    assert info["models"][NAME]["labels"] == {"anterior": 1, "posterior": 2}
    assert info["models"][NAME]["dimension"] == 3
    assert NAME in info["trainers"]


def test_inference_is_that_of_the_bundle(server, before, studies, tmp_path):
    """As good as ``inference.json``, on turned and anisotropic volumes as well."""
    folder, truths, names = studies
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in names:
        shutil.copy(folder / f"{name}.nii.gz", volumes)
    config = str(server.bundle / "configs" / "inference.json")
    done = run_bundle(
        *("run", "--config_file", config, "--bundle_root", str(server.bundle), "--device", "cpu"),
        *("--dataset_dir", str(volumes), "--output_dir", str(tmp_path / "out")),
    )
    assert done.returncode == 0, done.stderr
    own = {n: dice(tmp_path / "out" / f"{n}_seg.nii.gz", truths / f"{n}.nii.gz") for n in names}
    print("Dice by the server", before, "by inference.json", own)
    assert before == pytest.approx(own, abs=0.002)
    assert min(before.values()) > 0.4


def test_batch_inference_labels_what_has_no_label(server, before, studies, tmp_path):
    _, truths, names = studies
    server.infer_unlabelled()
    for name in names:
        score = dice(server.label(name, tmp_path / f"{name}.nii.gz"), truths / f"{name}.nii.gz")
        assert score == pytest.approx(before[name], abs=0.002)


def test_training_takes_better_weights_only_and_the_server_uses_them(server, before, studies, tmp_path):
    """On the labelled cases: an epoch, whose weights may not be worse, then as many as it takes to be better."""
    _, truths, names = studies
    weights = server.bundle / "models" / "model.pt"
    old = weights.read_bytes()
    settings = {"device": "cpu", "val_split": 0.25, "multi_gpu": False, "pretrained": True, "tracking": "None"}
    for epochs in (1, 6):
        assert server.train(max_epochs=epochs, **settings) == "DONE", server.log.read_text()[-4000:]
        scores = [float(s) for s in re.findall(r"Metrics -- val_mean_dice: ([0-9.]+)", server.log.read_text())]
        scores = scores[-epochs - 1 :]
        after = {n: dice(server.infer(n, tmp_path / f"{n}.nii.gz"), truths / f"{n}.nii.gz") for n in names}
        print(f"{epochs} epochs: best Dice on the validation cases {max(scores)}, on the others {after}")
        assert np.mean(list(after.values())) > np.mean(list(before.values())) - 0.02
        if max(scores) <= scores[0]:
            assert after == before
    assert max(scores) > scores[0]
    assert torch.load(weights, weights_only=True).keys() == torch.load(io.BytesIO(old), weights_only=True).keys()
    assert after != before

# SPDX-License-Identifier: Apache-2.0
"""A derived bundle where what only searches and other formats need is not installed, as in a MONAI Label server."""

import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from .conftest import ROOT

BUNDLE = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
MISSING = ("matplotlib", "tensorboard", "tensorboardX", "mlflow", "SimpleITK", "fire", "onnx", "onnxruntime", "pandas")
RUN = f"""
import json, sys
sys.modules.update(dict.fromkeys({MISSING!r}))  # None: an import of it fails
from monai.bundle import ConfigWorkflow
kind, bundle, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
workflow = ConfigWorkflow(
    f"{{bundle}}/configs/{{kind}}.json",
    meta_file=f"{{bundle}}/configs/metadata.json",
    workflow_type="train" if kind == "train" else "inference",
    bundle_root=bundle,
    device="cpu",
    **settings,
)
workflow.initialize()
workflow.run()
workflow.finalize()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three small cases with the bundle's labels."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    names = ["a", "b", "c"]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir()
    for name in names:
        label = np.zeros((28, 36, 24), np.uint8)
        label[8:14, 8:28, 8:16], label[14:20, 8:28, 8:16] = 1, 2
        image = (100 * label + generator.normal(300, 10, label.shape)).astype(np.float32)
        for folder, voxels in (("imagesTr", image), ("labelsTr", label)):
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), root / folder / f"{name}.nii.gz")
    listed = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    content = {
        "name": "blocks",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": len(names),
        "training": listed,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def run(kind, bundle, **settings):
    words = [sys.executable, "-c", RUN, kind, str(bundle), json.dumps(settings, default=str)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_segments_and_is_evaluated(data, tmp_path):
    once = {"inferer#flips": [], "inferer#transposed_axes": None}
    run("inference", BUNDLE, dataset_dir=data / "imagesTr", output_dir=tmp_path / "out", **once)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"{name}_seg.nii.gz" for name in "abc"]
    run("evaluate", BUNDLE, dataset_dir=data, output_dir=tmp_path / "eval", **once)
    assert len((tmp_path / "eval" / "mean_dice_raw.csv").read_text().splitlines()) == 4


def test_it_is_trained_on(data, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    file = bundle / "models" / "model.pt"
    weights = torch.load(file, weights_only=True)
    weights["heads.0.weight"].zero_()  # all is background, so that any training makes it better
    weights["heads.0.bias"].copy_(torch.tensor([0.1, 0.0, 0.0]))
    torch.save(weights, file)
    run("train", bundle, dataset_dir=data, epochs=30, learning_rate=3e-2)
    trained = torch.load(file, weights_only=True)
    assert trained["heads.0.weight"].abs().max() > 0
    scripted = torch.jit.load(bundle / "models" / "model.ts", map_location="cpu").state_dict()
    assert all(torch.equal(scripted[name], weight) for name, weight in trained.items())

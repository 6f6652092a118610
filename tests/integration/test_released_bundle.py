# SPDX-License-Identifier: Apache-2.0
"""The bundle that the repository carries: whole, small, and as good as it says."""

import csv
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, verify_net_in_out
from monai.data import load_net_with_metadata

from .conftest import ROOT, run_bundle
from .label_server import LabelServer

BUNDLE = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
CONFIGS = BUNDLE / "configs"


def test_it_is_small_and_speaks_of_no_machine():
    files = [path for path in BUNDLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6
    for path in files:
        if path.suffix in {".json", ".md", ".conf", ".txt"}:
            assert not re.search(r"/(work|tmp|home|root|mnt)/", path.read_text()), path


def test_it_is_a_bundle_whose_files_agree():
    options = {"meta_file": str(CONFIGS / "metadata.json"), "logging_file": False, "bundle_root": str(BUNDLE)}
    verify_net_in_out(
        "network_def", meta_file=options["meta_file"], config_file=str(CONFIGS / "inference.json"), device="cpu"
    )
    inference = ConfigWorkflow(
        str(CONFIGS / "inference.json"), workflow_type="inference", initialize=[], datalist=[], **options
    )
    inference.initialize()
    assert not inference.check_properties()
    network = inference.parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True), strict=True)
    image = torch.randn(1, 1, 32, 48, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, carried, _ = load_net_with_metadata(str(BUNDLE / "models" / "model.ts"))
        assert carried == json.loads((CONFIGS / "metadata.json").read_text())
        script = torch.jit.load(BUNDLE / "models" / "model.ts").eval().double()  # rounding aside
        torch.testing.assert_close(script(image.double()), network.double()(image.double()), rtol=1e-9, atol=1e-9)


def test_it_is_as_good_as_it_says(real_data, tmp_path):
    done = run_bundle(
        *("run", "--config_file", str(CONFIGS / "evaluate.json"), "--bundle_root", str(BUNDLE)),
        *("--dataset_dir", str(real_data), "--output_dir", str(tmp_path), "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "mean_dice_raw.csv").open() as file:
        rows = list(csv.DictReader(file))
    split = json.loads((BUNDLE / "docs" / "data_split.json").read_text())
    assert {row["filename"].split("/")[-1].removesuffix(".nii.gz") for row in rows} == set(split["test"])
    told = json.loads((CONFIGS / "metadata.json").read_text())["eval_metrics"]
    assert np.mean([float(row["mean"]) for row in rows]) == pytest.approx(told["mean_dice"], abs=0.002)
    assert f"{told['mean_dice']:.4f}" in (BUNDLE / "docs" / "README.md").read_text()


def test_monai_label_opens_it_as_it_stands(label_python, real_data, tmp_path):
    name = json.loads((BUNDLE / "docs" / "data_split.json").read_text())["test"][0]
    studies = tmp_path / "studies"
    studies.mkdir()
    shutil.copy(real_data / "imagesTr" / f"{name}.nii.gz", studies)
    with LabelServer(label_python, tmp_path, studies, BUNDLE, BUNDLE.name) as server:
        assert server.info()["models"][BUNDLE.name]["labels"] == {"anterior": 1, "posterior": 2}
        server.infer(name, tmp_path / "prediction.nii.gz")
    files = (tmp_path / "prediction.nii.gz", real_data / "labelsTr" / f"{name}.nii.gz")
    prediction, label = (np.asanyarray(nib.load(path).dataobj) for path in files)
    for value in (1, 2):
        found, true = prediction == value, label == value
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.75

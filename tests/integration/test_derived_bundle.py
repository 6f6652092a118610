# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_ronas.networks.nets import RonasUNet

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


IN_ONE_SHOT = ("--inferer#flips", "[]")  # as the validation within the training


def evaluate(bundle, data, out, *args):
    """Run ``evaluate.json``; returns the mean Dice by case."""
    done = run_bundle(
        *("run", "--config_file", str(bundle / "configs" / "evaluate.json"), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(data), "--output_dir", str(out), *args),
    )
    assert done.returncode == 0, done.stderr
    rows = [row.split(",") for row in (out / "mean_dice_raw.csv").read_text().splitlines()[1:]]
    return {row[0].split("/")[-1].removesuffix(".nii.gz"): float(row[-1]) for row in rows}


def test_evaluate_measures_the_test_cases_only(bundle, finished, small_phantom, tmp_path):
    """And finds the Dice that the search has told."""
    dice = evaluate(bundle, small_phantom, tmp_path)
    split = json.loads((finished / "dataset_report.json").read_text())["split"]
    assert set(dice) == set(split["test"])
    told = json.loads((bundle / "configs" / "metadata.json").read_text())["eval_metrics"]
    assert told["measured_on"] == f"{len(dice)} test cases"
    assert told["mean_dice"] == pytest.approx(sum(dice.values()) / len(dice), abs=0.01)
    assert f"test cases, which neither training nor reward saw: {told['mean_dice']:.4f}" in (
        (bundle / "docs" / "README.md").read_text()
    )


def test_prediction_has_the_geometry_of_its_image(bundle, finished, small_phantom, tmp_path):
    """Another orientation, spacing and size come back in their own geometry, segmented as well where they are whole."""
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
        "small": lambda volume: volume.slicer[9:16, 10:21, 6:11],  # smaller than the patch on every axis
        "one more slice": lambda volume: volume.slicer[:17, :17, :9],
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
        dice[key] = 2 * (found & true).sum() / max(found.sum() + true.sum(), 1)
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
    for name, data in (("inference", small_phantom / "imagesTr"), ("train", small_phantom)):
        workflow = ConfigWorkflow(
            str(bundle / "configs" / f"{name}.json"),
            meta_file=str(bundle / "configs" / "metadata.json"),
            workflow_type=name,
            bundle_root=str(bundle),
            dataset_dir=str(data),
        )
        workflow.initialize()
        assert workflow.check_properties() == []


def test_monais_own_checks_pass(bundle, tmp_path):
    configs, models = bundle / "configs", bundle / "models"
    files = ("--meta_file", str(configs / "metadata.json"), "--config_file", str(configs / "inference.json"))
    done = run_bundle("verify_net_in_out", "--net_id", "network_def", *files, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    exported = tmp_path / "exported.ts"
    done = run_bundle(
        *("ckpt_export", "--net_id", "network_def", "--filepath", str(exported)),
        *("--ckpt_file", str(models / "model.pt"), *files),
    )
    assert done.returncode == 0, done.stderr
    image = torch.randn(1, 1, 32, 24, 16, generator=torch.Generator().manual_seed(0))
    config = json.loads((configs / "inference.json").read_text())["network_def"]
    del config["_target_"]
    eager = RonasUNet(**config).eval()
    eager.load_state_dict(torch.load(models / "model.pt", weights_only=True))
    with torch.no_grad():
        for path in (exported, models / "model.ts"):
            torch.testing.assert_close(torch.jit.load(path).eval()(image), eager(image), rtol=1e-4, atol=1e-4)


def test_dropout_can_be_switched_on_in_the_network(bundle):
    """As MONAI Label does for epistemic scores: set in ``network_def``, run in training mode, one output expected."""
    config = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    del config["_target_"]
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    image = torch.randn(1, 1, 32, 24, 16, generator=torch.Generator().manual_seed(0))
    outputs = []
    for dropout in (0.0, 0.0, 0.2, 0.2):
        network = RonasUNet(**{**config, "dropout": dropout}).train()
        network.load_state_dict(weights, strict=True)
        with torch.no_grad():
            outputs.append(network(image))
    plain, again, first, second = outputs
    assert plain.shape == first.shape == (1, 4, 32, 24, 16)
    assert torch.equal(plain, again)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)


def train_on(bundle, data, *args):
    done = run_bundle(
        *("run", "--config_file", str(bundle / "configs" / "train.json"), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(data), "--device", "cpu", "--epochs", "2", *args),
    )
    assert done.returncode == 0, done.stderr
    return [float(m) for m in re.findall(r"val_mean_dice: ([0-9.]+)", done.stdout)]


def test_training_goes_on_from_the_bundles_weights(bundle, small_phantom, tmp_path):
    """The first score is that of the search's weights, and they are replaced by better ones only."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    models = [copy / "models" / name for name in ("model.pt", "model.ts")]
    before = [path.read_bytes() for path in models]
    scores = train_on(copy, small_phantom, "--learning_rate", "0.0")
    assert len(scores) == 3
    assert scores[0] == scores[1] == scores[2]
    dice = evaluate(bundle, small_phantom, tmp_path / "dice", "--evaluation_use", "reward", *IN_ONE_SHOT)
    assert scores[0] == pytest.approx(sum(dice.values()) / len(dice), abs=0.01)
    worse = train_on(copy, small_phantom, "--learning_rate", "10.0")
    assert max(worse[1:]) < worse[0]
    assert [path.read_bytes() for path in models] == before


def test_train_and_evaluate_in_one_command_judge_the_unseen_cases(bundle, finished, small_phantom, tmp_path):
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    done = run_bundle(
        *("run", "--config_file", str(files), "--bundle_root", str(bundle)),
        *("--dataset_dir", str(small_phantom), "--output_dir", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    split = json.loads((finished / "dataset_report.json").read_text())["split"]
    rows = (tmp_path / "mean_dice_raw.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0].split("/")[-1].removesuffix(".nii.gz") for row in rows} == set(split["test"])


def test_training_on_several_processes(bundle, small_phantom, tmp_path):
    """Two processes with gloo train and validate together and leave a plain state dict."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    files = str([str(copy / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")])
    command = (
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle"),
        *("run", "--config_file", files, "--bundle_root", str(copy), "--dataset_dir", str(small_phantom)),
        *("--epochs", "1", "--learning_rate", "1e-3"),
    )
    on_cpus = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=on_cpus)
    assert done.returncode == 0, done.stderr
    scores = [float(m) for m in re.findall(r"val_mean_dice: ([0-9.]+)", done.stdout)]
    dice = evaluate(bundle, small_phantom, tmp_path / "dice", "--evaluation_use", "reward", *IN_ONE_SHOT)
    assert len(scores) == 2  # by the first process only
    assert scores[0] == pytest.approx(sum(dice.values()) / len(dice), abs=0.01)
    before = torch.load(bundle / "models" / "model.pt", weights_only=True)
    after = torch.load(copy / "models" / "model.pt", weights_only=True)
    assert set(after) == set(before)
    changed = [name for name, weight in before.items() if not torch.equal(after[name], weight)]
    assert bool(changed) == (scores[1] > scores[0])
    scripted = torch.jit.load(copy / "models" / "model.ts", map_location="cpu").state_dict()
    assert all(torch.equal(scripted[name], weight) for name, weight in after.items())

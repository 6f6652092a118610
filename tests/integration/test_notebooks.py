# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from a clean kernel, and end with what they promise."""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import torch

from monai_ronas.handlers import read_history

from .conftest import ROOT


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook with parameters; gives the text of its outputs and the folder of its data."""

    def execute(name, **parameters):
        monkeypatch.setenv("MONAI_DATA_DIRECTORY", str(tmp_path))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        papermill.execute_notebook(
            str(ROOT / "notebooks" / f"{name}.ipynb"),
            str(tmp_path / "done.ipynb"),
            parameters=parameters,
            cwd=str(ROOT / "notebooks"),
            kernel_name="python3",
            progress_bar=False,
        )
        done = nbformat.read(tmp_path / "done.ipynb", as_version=4)
        streams = [o.text for cell in done.cells for o in cell.get("outputs", []) if o.output_type == "stream"]
        return "".join(streams), tmp_path

    return execute


def test_the_first_search_ends_with_a_bundle_that_segments(run):
    small = {"num_cases": 10, "size": [28, 32, 20], "channels": [6, 8, 12, 16], "episodes": 2}
    text, folder = run("01_first_search", **small, children_per_episode=3, warmup_epochs=1, final_epochs=20)
    work = folder / "ronas_first_search"
    bundle = work / "output" / "ronas_segmentation"
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert all(weight.isfinite().all() for weight in weights.values())
    cases, dice = re.search(r"mean Dice of (\d+) test cases: ([\d.]+)", text).groups()
    test = json.loads((work / "output" / "dataset_report.json").read_text())["split"]["test"]
    assert int(cases) == len(test) == len(list((work / "predictions").rglob("*.nii.gz")))
    assert float(dice) > 0.4
    assert "6 candidates were scored" in text
    assert (work / "first_search.png").is_file()


def test_your_own_data_are_mended_kept_together_and_searched_in_two_goes(run):
    small = {"num_patients": 6, "size": [24, 28, 20], "time_budget_minutes": 0.8}
    text, folder = run("02_your_own_data", **small, seconds_before_stop=3)
    assert "in case 'patient03_b': the label holds 7, which dataset.json does not declare" in text
    assert "voxels with the value 7: 9" in text
    assert "exit status 1\n" in text
    assert "exit status 75\n" in text
    output = folder / "ronas_your_own_data" / "output"
    split = json.loads((output / "ronas_segmentation" / "docs" / "data_split.json").read_text())
    patients = {use: {name.split("_")[0] for name in split[use]} for use in ("train", "reward", "test")}
    assert sum(map(len, patients.values())) == len(set().union(*patients.values())) == 6
    report = json.loads((output / "dataset_report.json").read_text())
    assert report["faults"] == []
    assert all(reason in text for reason in report["plan"]["reasons"])
    assert (output / "ronas_segmentation" / "models" / "model.pt").is_file()


def test_a_monai_label_server_segments_and_trains(run, label_python, monkeypatch):
    monkeypatch.setenv("MONAI_LABEL_PYTHON", str(label_python))
    small = {"num_cases": 6, "num_studies": 4, "num_labelled": 2, "final_epochs": 6, "max_epochs": 2}
    text, folder = run("03_monai_label", **small)
    work = folder / "ronas_monai_label"
    assert "labels: {'organ': 1, 'lesion': 2, 'vessel': 3}" in text
    assert "strategies: random, first, phantom_segmentation_uncertainty" in text
    scores = [float(score) for score in re.findall(r"^phantom_\d+  (\d\.\d+)$", text, flags=re.MULTILINE)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert "the training is DONE" in text
    tags = {tag: {p.name for p in (work / "studies" / "labels" / tag).iterdir()} for tag in ("final", "original")}
    assert [len(files) for files in tags.values()] == [2, 2]
    assert not tags["final"] & tags["original"]
    assert re.search(r"mean Dice of 2 studies without a label: 0\.\d+ before, 0\.\d+ after", text)


def test_the_blocks_train_and_the_controllers_learn(run):
    text, _ = run("04_blocks_and_controller", num_cases=6, steps=10, episodes=2, children_per_episode=4)
    first, last = map(float, re.search(r"first step ([\d.]+), of the last step ([\d.]+)", text).groups())
    assert last < first
    rewards = {name.strip(): float(value) for name, value in re.findall(r"(.+) mean reward of .+ ([\d.]+)", text)}
    assert rewards["LSTM"] > rewards["random"] + 0.1
    assert rewards["your own table"] > rewards["random"] + 0.1
    assert re.search(r"the best candidate: .*'ce_weight': (0.0|1.0|30.0)", text)


def test_two_processes_search_and_one_goes_on_where_they_were_killed(run):
    small = {"num_cases": 10, "size": [24, 28, 20], "channels": [4, 4, 4], "episodes": 2, "children_per_episode": 3}
    text, folder = run("05_many_processes", **small, warmup_epochs=1, final_epochs=1)
    work = folder / "ronas_many_processes"
    for output in ("output", "killed"):
        assert len(read_history(work / output / "history.jsonl")) == 6
        assert (work / output / "ronas_segmentation" / "models" / "model.pt").is_file()
    assert "--nproc_per_node=2 -m monai.bundle run search" in text
    assert re.search(r"exit status [1-9]", text)
    assert re.search(r"resuming after episode \d", text)

# SPDX-License-Identifier: Apache-2.0
"""Whole searches on a card, as a user types them."""

import json
import subprocess
import sys

import pytest

from monai_ronas.data import make_phantom_dataset
from monai_ronas.handlers import read_history
from tests.integration.conftest import ROOT, SEARCH, run_bundle

FEW = {
    "episodes": 1,
    "children_per_episode": 4,
    "child_epochs": 1,
    "warmup_epochs": 1,
    "final_epochs": 2,
    "iterations_per_epoch": 4,
    "reward_fraction": 0.3,
}


@pytest.fixture(scope="module")
def hearts(tmp_path_factory, device):
    """Volumes of the heart's size, of thin slices as its are."""
    size = (320, 320, 115) if device.type == "cuda" else (32, 32, 20)
    folder = tmp_path_factory.mktemp("data") / "hearts"
    return make_phantom_dataset(folder, num_cases=8, size=size, spacing=(1.25, 1.25, 1.37))


def test_the_papers_search_keeps_to_the_memory_of_its_card(device, papers_gb, hearts, tmp_path, record_property):
    """The process gets 10.8 GB; no batch has to be made again for want of it, and every child has a score."""
    output, preset = tmp_path / "output", SEARCH.with_name("ronasmis.json")
    given = {"dataset_dir": hearts, "output_dir": output, "memory_budget_gb": papers_gb, "device": device, **FEW}
    if device.type == "cpu":
        given |= {"channels": [4, 6, 8, 12]}
    flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "tests.gpu.limited", str(papers_gb), "run", "search"]
    done = subprocess.run(
        [*command, "--config_file", str([str(SEARCH), str(preset)]), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "out of memory" not in done.stderr
    children = read_history(output / "history.jsonl")
    assert [child["status"] for child in children] == ["ok"] * len(children)
    assert (output / "ronas_segmentation" / "models" / "model.pt").is_file()
    if device.type == "cuda":
        peak = max(child["peak_memory_mb"] for child in children) / 1024
        record_property("the paper's search, most memory of a score in GB", peak)
        assert peak < papers_gb


def test_three_minutes_on_the_hippocampus(card, real_data, tmp_path, record_property):
    given = {"dataset_dir": real_data, "output_dir": tmp_path, "time_budget_minutes": 3, "device": card}
    flags = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    done = run_bundle("run", "search", "--config_file", str(SEARCH), *flags)
    assert done.returncode == 0, done.stderr
    metadata = json.loads((tmp_path / "ronas_segmentation" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    spent = json.loads((tmp_path / "checkpoints" / "seconds.json").read_text(encoding="utf-8"))["seconds"]
    dice = metadata["eval_metrics"]["mean_dice"]
    record_property("Task04 in 3 minutes: seconds", spent)
    record_property("Task04 in 3 minutes: Dice of the test cases", dice)
    assert dice > 0.8

# SPDX-License-Identifier: Apache-2.0
import json
import math
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_ronas.data import make_phantom_dataset
from monai_ronas.handlers import read_history

from .conftest import FINAL_EPOCHS, SEARCH, SMALL, run_search

HISTORY_KEYS = {
    *("episode", "child", "architecture", "id", "reward", "cases", "seconds", "peak_memory_mb"),
    *("status", "macs", "parameters", "memory_mb"),
}


def timeless(path):
    """The history without what a clock or the system's memory decides."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "peak_memory_mb")} for line in read_history(path)]


def contents(folder):
    """The files of a search, without what a refused command has found of its data."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder / "checked"]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_history_has_a_line_for_each_child_on_the_episodes_cases(finished):
    history = read_history(finished / "history.jsonl")
    assert [(line["episode"], line["child"]) for line in history] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    split = json.loads((finished / "dataset_report.json").read_text())["split"]
    for line in history:
        assert set(line) == HISTORY_KEYS
        assert line["status"] == "ok"
        assert 0.0 <= line["reward"] <= 1.0
        assert len(line["cases"]) == 2
        assert set(line["cases"]) <= set(split["reward"])
    assert len({tuple(line["cases"]) for line in history if line["episode"] == 1}) == 1
    assert not set(split["reward"]) & set(split["test"]) | set(split["train"]) & set(split["test"])


def test_output_dir_holds_what_is_promised(finished):
    kept = sorted(path.name for path in (finished / "checkpoints").glob("episode_*.pt"))
    assert kept[:2] == ["episode_00001.pt", "episode_00002.pt"]
    assert [name.startswith("episode_00002_part_") for name in kept[2:]] == [True]  # the end of the final training
    assert list(finished.glob("events.*"))
    fronts = json.loads((finished / "pareto.json").read_text())
    history = {(line["episode"], line["child"]): line for line in read_history(finished / "history.jsonl")}
    for cost, front in fronts.items():
        assert [c[cost] for c in front] == sorted(c[cost] for c in front)
        assert all(history[c["episode"], c["child"]][cost] == c[cost] for c in front)
        assert front
    table = (finished / "stdout.txt").read_text()
    for part in (
        *("architecture", "test Dice", "reward Dice", "which the final training has seen", "standard error"),
        *("parameters", "time", "ronas_segmentation"),
    ):
        assert part in table
    bundle = finished / "ronas_segmentation"
    files = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert files >= {
        *("configs/metadata.json", "configs/inference.json", "configs/evaluate.json", "configs/logging.conf"),
        *("models/model.pt", "models/model.ts", "docs/README.md", "LICENSE"),
    }


def test_a_network_for_thick_slices_has_the_planned_kernels(tmp_path):
    make_phantom_dataset(tmp_path / "thick", num_cases=8, size=(32, 32, 16), spacing=(1.0, 1.0, 5.0))
    done = run_search(tmp_path / "thick", tmp_path / "output", episodes=1)
    assert done.returncode == 0, done.stderr
    planned = json.loads((tmp_path / "output" / "plan.json").read_text())["plan"]["kernel_sizes"]
    assert planned[0] == [3, 3, 1]
    assert planned[-1] == [3, 3, 3]
    bundle = tmp_path / "output" / "ronas_segmentation"
    assert json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]["kernel_sizes"] == planned
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert [list(weights[f"encoder.{n}.conv2.conv.weight"].shape[2:]) for n in range(len(planned))] == planned
    told = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.split()[:1] == ["kernels"]]
    assert len(told) == 2  # in the plan and in the result
    assert told[0] == told[1]


def test_same_seed_same_history(finished, small_phantom, tmp_path):
    again = run_search(small_phantom, tmp_path)
    assert again.returncode == 0, again.stderr
    assert timeless(tmp_path / "history.jsonl") == timeless(finished / "history.jsonl")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 5}, "seed"),
        ({"channels": "[6,8,12,20]"}, "channels"),
        ({"space#dilations": "[1,2]"}, "space"),
        ({"learning_rate": 0.01}, "learning_rate"),
        ({"optimizer#_target_": "torch.optim.AdamW"}, "optimizer"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(finished, small_phantom, change, difference):
    before = contents(finished)
    refused = run_search(small_phantom, finished, **change)
    after = contents(finished)
    memo = Path(".verified.jsonl")  # grows where the cases lie elsewhere than they did
    assert after.pop(memo).startswith(before.pop(memo))
    assert {name: after.get(name) for name in before} == before
    assert refused.returncode != 0
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_ronas: ")
    assert difference in last.split("of which")[1].split(": give")[0]
    assert "Traceback" not in refused.stderr


def test_random_strategy_without_a_test_fold(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, strategy="random", fold="null", episodes=1)
    assert done.returncode == 0, done.stderr
    assert len(read_history(tmp_path / "history.jsonl")) == 3
    split = json.loads((tmp_path / "dataset_report.json").read_text())["split"]
    assert split["test"] == []
    assert len(split["train"]) + len(split["reward"]) == 10
    assert "kept no test cases" in (tmp_path / "ronas_segmentation" / "docs" / "README.md").read_text()


def test_time_budget_ends_the_episodes(small_phantom, tmp_path):
    """How the budget is shared is tested room by room with a clock of the test's own."""
    shares = {"search_until": 0.6, "controller#episodes#least_episodes": 1}
    done = run_search(small_phantom, tmp_path, time_budget_minutes=0.7, episodes=1000, **shares)
    assert done.returncode == 0, done.stderr
    assert 1 <= max(line["episode"] for line in read_history(tmp_path / "history.jsonl")) < 1000
    assert (tmp_path / "ronas_segmentation" / "models" / "model.pt").exists()


def test_verify_checks_and_trains_nothing(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, run_id="verify")
    assert done.returncode == 0, done.stderr
    assert f"verified: every case can be used; the report is in {tmp_path}" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [".verified.jsonl", "dataset_report.json"]


def test_properties_are_complete(small_phantom, tmp_path):
    overrides = {**SMALL, "dataset_dir": str(small_phantom), "output_dir": str(tmp_path)}
    workflow = ConfigWorkflow(str(SEARCH), workflow_type="train", **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset_dir": "nowhere"}, "nowhere"),
        ({"fold": 7}, "fold"),
        ({"strategy": "genetic"}, "strategy must be one of"),
        ({"time_budget_minutes": -1}, "time_budget_minutes"),
        ({"memory_budget_gb": 0.001}, "memory_budget_gb 0.001 is too little for these data: give "),
        ({"time_budget_minuts": 5}, "did you mean --time_budget_minutes?"),
        ({"resume": "maybe"}, "resume must be true or false"),
        ({"space#dilations": "[9]"}, "not feasible"),
        ({"space#dilations": 3}, "the options of dilations must be a list, received 3"),
        ({"space#activations": "[['LEAKYRELU', {'negative_slope': 0.1}]]"}, "names of MONAI's Act factory"),
    ],
)
def test_bad_input_ends_in_one_sentence(small_phantom, tmp_path, change, message):
    done = run_search(change.pop("dataset_dir", small_phantom), tmp_path, **change)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_ronas: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "history.jsonl").exists()


def test_data_set_without_labels_ends_in_one_sentence(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"name": "x", "training": []}))
    done = run_search(tmp_path / "set", tmp_path / "out")
    assert done.returncode != 0
    assert "labels" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_rewards_are_finite(finished):
    assert all(math.isfinite(line["reward"]) for line in read_history(finished / "history.jsonl"))


def test_a_finished_search_says_so_and_leaves_its_bundle(finished, small_phantom):
    files = finished / "ronas_segmentation" / "models" / "model.pt", finished / "checkpoints" / "seconds.json"
    before = [file.read_bytes() for file in files]
    again = run_search(small_phantom, finished, final_epochs=FINAL_EPOCHS)
    assert again.returncode != 0
    assert "has finished" in again.stderr.strip().splitlines()[-1]
    assert [file.read_bytes() for file in files] == before


def test_a_folder_that_is_no_derived_bundle_is_never_replaced(small_phantom, tmp_path):
    other = tmp_path / "other"
    (other / "configs").mkdir(parents=True)
    (other / "configs" / "metadata.json").write_text("{}")
    refused = run_search(small_phantom, tmp_path / "out", export_dir=other)
    assert refused.returncode != 0
    assert "is not a derived bundle" in refused.stderr.strip().splitlines()[-1]
    assert (other / "configs" / "metadata.json").read_text() == "{}"
    assert not (tmp_path / "out" / "checkpoints").exists()  # what a refused command spends does not count


def test_words_of_the_command_line_are_understood(small_phantom, tmp_path):
    """A finished search starts over with ``--resume false``; ``null`` is no time budget, and ``false`` no bfloat16."""
    words = {"time_budget_minutes": "null", "memory_budget_gb": "null", "amp": "false", "episodes": 1}
    assert run_search(small_phantom, tmp_path, **words).returncode == 0
    assert len(read_history(tmp_path / "history.jsonl")) == 3
    again = run_search(small_phantom, tmp_path, resume="false", **{**words, "episodes": 0})
    assert again.returncode == 0, again.stderr
    assert "resuming" not in again.stdout + again.stderr
    assert read_history(tmp_path / "history.jsonl") == []

# SPDX-License-Identifier: Apache-2.0
import json
import math

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_ronas.handlers import read_history
from monai_ronas.networks.nets import RonasUNet

from .conftest import SEARCH, SMALL, run_search

HISTORY_KEYS = {
    *("episode", "child", "architecture", "id", "reward", "training_gain", "cases", "seconds", "peak_memory_mb"),
    "status",
}


def timeless(path):
    """The history without what a clock or the system's memory decides."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "peak_memory_mb")} for line in read_history(path)]


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
    assert len(list((finished / "checkpoints").glob("*.pt"))) == 2
    assert list(finished.glob("events.*"))
    table = (finished / "stdout.txt").read_text()
    for part in ("architecture", "reward Dice", "standard error", "parameters", "time", "ronas_segmentation"):
        assert part in table
    bundle = finished / "ronas_segmentation"
    files = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert files >= {
        *("configs/metadata.json", "configs/inference.json", "configs/evaluate.json", "configs/logging.conf"),
        *("models/model.pt", "models/model.ts", "docs/README.md", "LICENSE"),
    }


def test_exported_file_gives_the_supernets_output_bit_for_bit(finished, small_phantom):
    """The supernet as the search left it, rebuilt from its last checkpoint, has the architecture of the export."""
    workflow = ConfigWorkflow(
        str(SEARCH), **{**SMALL, "dataset_dir": str(small_phantom), "output_dir": str(finished), "amp": False}
    )
    workflow.initialize()
    supernet, space = workflow.parser.get_parsed_content("network"), workflow.parser.get_parsed_content("space")
    checkpoint = sorted((finished / "checkpoints").glob("*.pt"))[-1]
    supernet.load_state_dict(torch.load(checkpoint, weights_only=True)["training"]["network"])
    config = json.loads((finished / "ronas_segmentation" / "configs" / "inference.json").read_text())["network_def"]
    assert config.pop("_target_") == "monai_ronas.networks.nets.RonasUNet"
    derived = RonasUNet(**config)
    weights = torch.load(finished / "ronas_segmentation" / "models" / "model.pt", weights_only=True)
    derived.load_state_dict(weights, strict=True)
    own = {k: v for k, v in supernet.state_dict().items() if k in weights}
    assert set(own) == set(weights)
    supernet.load_state_dict(weights, strict=False)
    chosen = next(
        a
        for a in (space.decode(i) for i in _all_indices(space, config))
        if json.loads(json.dumps(space.network_kwargs(a))) == {k: config[k] for k in space.network_kwargs(a)}
    )
    supernet.select(chosen)
    image = torch.randn(1, 1, *(2 * d for d in supernet.divisor))
    with torch.no_grad():
        derived = derived.eval().to(memory_format=torch.channels_last_3d)
        assert torch.equal(supernet.eval()(image), derived(image))


def _all_indices(space, config):
    """Indices of the one architecture that has the network of ``config`` (its patch does not matter)."""
    values = space.base.to_dict()
    values |= {f"stride_{s}": config["strides"][s - 1] for s in (3, 4)}
    values |= {f"dilation_{s}": config["dilations"][s - 1] for s in (2, 3, 4)}
    values |= {k: [int(k[5]), int(k[7])] in config["skips"] for k in values if k.startswith("skip_")}
    yield space.encode({**values, "activation": config["act"]})


def test_same_seed_same_history(finished, small_phantom, tmp_path):
    again = run_search(small_phantom, tmp_path)
    assert again.returncode == 0, again.stderr
    assert timeless(tmp_path / "history.jsonl") == timeless(finished / "history.jsonl")


def test_killed_after_an_episode_the_search_goes_on_to_the_same_end(finished, small_phantom, tmp_path):
    first = run_search(small_phantom, tmp_path, episodes=1)
    assert first.returncode == 0, first.stderr
    assert len(read_history(tmp_path / "history.jsonl")) == 3
    second = run_search(small_phantom, tmp_path)
    assert second.returncode == 0, second.stderr
    assert "resuming behind episode 1" in second.stdout + second.stderr
    assert timeless(tmp_path / "history.jsonl") == timeless(finished / "history.jsonl")


@pytest.mark.parametrize(
    ("change", "difference"),
    [({"seed": 5}, "seed"), ({"channels": "[6,8,12,20]"}, "network"), ({"space#dilations": "[1,2]"}, "space")],
)
def test_another_search_in_the_same_folder_is_refused(finished, small_phantom, change, difference):
    refused = run_search(small_phantom, finished, **change)
    assert refused.returncode != 0
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_ronas: ")
    assert difference in last.split("another")[1].split(":")[0]
    assert "Traceback" not in refused.stderr


def test_random_strategy_without_a_test_fold(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, strategy="random", fold="null", episodes=1)
    assert done.returncode == 0, done.stderr
    assert len(read_history(tmp_path / "history.jsonl")) == 3
    split = json.loads((tmp_path / "dataset_report.json").read_text())["split"]
    assert split["test"] == []
    assert len(split["train"]) + len(split["reward"]) == 10
    assert "kept no test cases" in (tmp_path / "ronas_segmentation" / "docs" / "README.md").read_text()


def test_time_budget_ends_episodes_and_training(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, time_budget_minutes=0.7, episodes=1000)
    assert done.returncode == 0, done.stderr
    assert 1 <= max(line["episode"] for line in read_history(tmp_path / "history.jsonl")) < 1000
    assert (tmp_path / "ronas_segmentation" / "models" / "model.pt").exists()


def test_verify_checks_and_trains_nothing(small_phantom, tmp_path):
    done = run_search(small_phantom, tmp_path, run_id="verify")
    assert done.returncode == 0, done.stderr
    assert "every case can be used" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["dataset_report.json"]


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
    weights = finished / "ronas_segmentation" / "models" / "model.pt"
    before = weights.read_bytes()
    again = run_search(small_phantom, finished, final_epochs=300)
    assert again.returncode != 0
    assert "has finished" in again.stderr.strip().splitlines()[-1]
    assert weights.read_bytes() == before


def test_a_folder_that_is_no_derived_bundle_is_never_replaced(small_phantom, tmp_path):
    other = tmp_path / "other"
    (other / "configs").mkdir(parents=True)
    (other / "configs" / "metadata.json").write_text("{}")
    refused = run_search(small_phantom, tmp_path / "out", export_dir=other)
    assert refused.returncode != 0
    assert "is no derived bundle" in refused.stderr.strip().splitlines()[-1]
    assert (other / "configs" / "metadata.json").read_text() == "{}"

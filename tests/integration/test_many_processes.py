# SPDX-License-Identifier: Apache-2.0
"""A search in several processes, as torchrun starts them."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from monai_ronas.handlers import read_history

from .conftest import ROOT, SEARCH, run_bundle, run_search, search_arguments

OVERLAY = SEARCH.with_name("multi_gpu_search.json")
TINY = {"episodes": 1, "children_per_episode": 2, "iterations_per_epoch": 2, "channels": "[4,4,4]", "final_epochs": 3}


def in_processes(dataset, output, *, number=2, **settings):
    """The command, still running; its errors go to a file."""
    arguments = search_arguments(dataset, output, "search", {**TINY, **settings})
    arguments[arguments.index("--config_file") + 1] = str([str(SEARCH), str(OVERLAY)])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={number}"]
    with (output.parent / f"{output.name}.txt").open("w") as file:
        return subprocess.Popen([*launcher, "-m", "monai.bundle", *arguments], cwd=ROOT, stdout=file, stderr=file)


def told(output):
    return (output.parent / f"{output.name}.txt").read_text()


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def alone(small_phantom, tmp_path_factory):
    """Folder of the search in a single process."""
    output = tmp_path_factory.mktemp("many") / "alone"
    done = run_search(small_phantom, output, **TINY)
    assert done.returncode == 0, done.stderr
    return output


def test_the_overlay_changes_what_is_there():
    known = json.loads(SEARCH.read_text())
    overlay = json.loads(OVERLAY.read_text())
    for key in overlay.keys() - {"rank_timeout_minutes"}:
        place = known
        for part in key.removeprefix("+").split("#"):
            place = place[part]
    handlers = [handler["_target_"].split(".")[-1] for handler in overlay["train#handlers"]]
    assert handlers == ["MeanGradients", *(h["_target_"].split(".")[-1] for h in known["train"]["handlers"])]


def test_a_single_process_writes_the_bundle():
    known = json.loads(SEARCH.read_text())
    for steps in (known["search"], known["export"]):
        first = next(n for n, step in enumerate(steps) if "export.run" in step)
        assert "$monai_ronas.utils.leave_to_main()" in steps[:first]


@pytest.mark.parametrize("number", [2, 4])
def test_processes_leave_what_one_does(alone, small_phantom, tmp_path, number):
    output = tmp_path / "many"
    assert in_processes(small_phantom, output, number=number).wait() == 0, told(output)
    lines, expected = (read_history(folder / "history.jsonl") for folder in (output, alone))
    assert [(line.keys(), line["status"], line["cases"]) for line in lines] == [
        (line.keys(), line["status"], line["cases"]) for line in expected
    ]
    assert [line["architecture"] for line in lines] == [line["architecture"] for line in expected]  # same policy
    assert len(lines) == 2
    assert files(output / "ronas_segmentation") == files(alone / "ronas_segmentation")
    assert len(list(output.glob("events.*"))) == 1
    assert told(output).count("INFO verified: ") == 1  # the other processes are silent
    reports = [json.loads((folder / "dataset_report.json").read_text()) for folder in (output, alone)]
    assert reports[0]["plan"] == reports[1]["plan"]
    weights = torch.load(output / "ronas_segmentation/models/model.pt", weights_only=True)
    other = torch.load(alone / "ronas_segmentation/models/model.pt", weights_only=True)
    assert {name: weight.shape for name, weight in weights.items()} == {n: w.shape for n, w in other.items()}
    assert all(weight.isfinite().all() for weight in weights.values())


def ranks_of(launcher):
    """The processes of a search by their rank."""
    found = {}
    for process in psutil.Process(launcher.pid).children(recursive=True):
        rank = process.environ().get("RANK")
        if rank is not None:
            found[int(rank)] = process
    return found


def test_a_killed_process_ends_all_and_one_alone_goes_on(small_phantom, tmp_path):
    output = tmp_path / "killed"
    settings = {**TINY, "final_epochs": 100, "controller#checkpoint#every_seconds": 0.2}
    launcher = in_processes(small_phantom, output, **settings)
    while not list(output.glob("checkpoints/*_part_*.pt")):
        assert launcher.poll() is None, told(output)
        time.sleep(0.1)
    ranks = ranks_of(launcher)
    ranks[1].send_signal(signal.SIGKILL)
    assert launcher.wait(timeout=60) != 0
    assert not any(process.is_running() for process in ranks.values())
    assert "the same command" in told(output)
    assert f'File "{ROOT}' not in told(output)  # a sentence, and the traceback of torchrun
    done = run_search(small_phantom, output, **settings)
    assert done.returncode == 0, done.stderr
    assert "resuming after episode" in done.stdout


def test_without_torchrun_the_overlay_is_refused(small_phantom, tmp_path):
    arguments = search_arguments(small_phantom, tmp_path, "search", TINY)
    arguments[arguments.index("--config_file") + 1] = str([str(SEARCH), str(OVERLAY)])
    refused = run_bundle(*arguments)
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].startswith("monai_ronas: multi_gpu_search.json and")

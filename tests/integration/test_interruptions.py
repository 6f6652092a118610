# SPDX-License-Identifier: Apache-2.0
"""Searches that are killed, interrupted or run out of room, and go on."""

import json
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from .conftest import ROOT, run_search, search_arguments, start_search
from .test_search import timeless

SETTINGS = {"final_epochs": 40, "controller#checkpoint#every_seconds": 0.2}
KILLS = {"kills": 4, "stops": 2, "ends": 1, "renames": 2}  # the benchmark's own numbers are larger


@pytest.fixture(scope="module")
def undisturbed(small_phantom, tmp_path_factory):
    """Folder of a search that was left in peace."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert run_search(small_phantom, output, new=True, **SETTINGS).returncode == 0
    return output


def same_end(output, undisturbed):
    """History and weights, to the last bit."""
    assert timeless(output / "history.jsonl") == timeless(undisturbed / "history.jsonl")
    ends = [torch.load(f / "ronas_segmentation/models/model.pt", weights_only=True) for f in (output, undisturbed)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], weight) for name, weight in ends[1].items())


def test_killed_and_stopped_at_random_moments_searches_come_to_the_same_end(tmp_path):
    words = [word for name, number in KILLS.items() for word in (f"--{name}", str(number))]
    command = [sys.executable, "-m", "tests.benchmarks.kills", *words, "--output", str(tmp_path / "kills.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "kills.json").read_text())
    assert result["faults"] == []
    assert result["counts"]["SIGKILL, status -9"] == 4
    assert result["counts"]["SIGKILL at the change of names, status -9"] == 2
    assert sum(number for name, number in result["counts"].items() if name.startswith("SIGTERM, ")) == 2


def test_killed_after_an_episode_the_search_goes_on_to_the_same_end(undisturbed, small_phantom, tmp_path):
    """Killed while the second episode runs; the same command again ends with the same children and weights."""
    with start_search(small_phantom, tmp_path, **SETTINGS) as process:
        while not (tmp_path / "checkpoints" / "episode_00001.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert not (tmp_path / "ronas_segmentation").exists()
    done = run_search(small_phantom, tmp_path, **SETTINGS)
    assert done.returncode == 0, done.stderr
    assert "resuming after episode 1" in done.stdout + done.stderr
    same_end(tmp_path, undisturbed)


def test_ctrl_c_ends_with_130_and_the_search_goes_on(undisturbed, small_phantom, tmp_path):
    with start_search(small_phantom, tmp_path, **SETTINGS) as process:
        while not (tmp_path / "checkpoints" / "episode_00001.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert run_search(small_phantom, tmp_path, **SETTINGS).returncode == 0
    same_end(tmp_path, undisturbed)


def test_no_room_for_a_checkpoint_is_a_sentence_and_the_search_goes_on(undisturbed, small_phantom, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # a preprocessed case fits

    command = [sys.executable, "-m", "monai.bundle", *search_arguments(small_phantom, tmp_path, "search", SETTINGS)]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=small_files)
    assert full.returncode == 1
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_ronas: File too large")
    assert "run the same command again" in last
    assert "Traceback" not in full.stderr
    assert run_search(small_phantom, tmp_path, **SETTINGS).returncode == 0
    same_end(tmp_path, undisturbed)


def test_no_room_for_the_cache_is_a_sentence(small_phantom, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    command = [sys.executable, "-m", "monai.bundle", *search_arguments(small_phantom, tmp_path, "search", SETTINGS)]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=small_files)
    assert full.returncode == 1
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith(f"monai_ronas: cache_dir '{tmp_path}/cache' cannot hold the preprocessed cases (File too")
    assert "Traceback" not in full.stderr


def test_a_second_search_in_the_same_folder_is_refused(small_phantom, tmp_path):
    with start_search(small_phantom, tmp_path, **{**SETTINGS, "final_epochs": 4000}) as first:
        while not (tmp_path / ".lock").exists():
            assert first.poll() is None
            time.sleep(0.05)
        second = run_search(small_phantom, tmp_path, **SETTINGS)
        first.kill()
    assert second.returncode == 1
    assert "another search is running in output_dir" in second.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("run_id", ["search", "verify"])
def test_an_output_folder_that_cannot_be_written(small_phantom, tmp_path, run_id):
    (tmp_path / "file").touch()
    refused = run_search(small_phantom, tmp_path / "file" / "output", run_id=run_id)
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("monai_ronas: ")
    assert "Not a directory" in last
    assert "Traceback" not in refused.stderr

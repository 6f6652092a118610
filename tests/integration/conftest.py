# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from monai_ronas.data import make_phantom_dataset
from tests.commands import forked

from .label_environment import make_environment

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ROOT / "bundles" / "ronas" / "configs" / "search.json"
FINAL_EPOCHS = 160  # of the fixture `finished`, so that its network segments
SMALL = {
    "episodes": 2,
    "children_per_episode": 3,
    "child_epochs": 1,
    "warmup_epochs": 1,
    "final_epochs": 2,
    "iterations_per_epoch": 4,
    "reward_cases_per_episode": 2,
    "reward_fraction": 0.3,
    "batch_size": 2,
    "channels": [6, 8, 12, 16],
    "device": "cpu",
    "controller#report#share": 0,  # none while a search runs: they would take half of its time
}


def run_bundle(*args: str, cwd: Path = ROOT, new: bool = False) -> subprocess.CompletedProcess[str]:
    """``python -m monai.bundle`` as a user types it: in a new Python, or in one that has its imports already."""
    if not new:
        return forked(*args, cwd=cwd, MLFLOW_TRACKING_URI="")
    words = [sys.executable, "-m", "monai.bundle", *args]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": ""}
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


def search_arguments(dataset: Path | None, output: Path, run_id: str, settings: dict) -> list[str]:
    values = {**SMALL, "output_dir": output, **settings}
    if dataset is not None:
        values["dataset_dir"] = dataset
    flags = [part for key, value in values.items() for part in (f"--{key}", str(value))]
    return ["run", run_id, "--config_file", str(SEARCH), *flags]


def start_search(dataset: Path, output: Path, **settings) -> subprocess.Popen:
    """A search with the small settings, still running; Ctrl-C reaches it even where the tests are a background job."""
    command = [sys.executable, "-m", "monai.bundle", *search_arguments(dataset, output, "search", settings)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )


def run_search(
    dataset: Path | None, output: Path, *args: str, run_id: str = "search", new: bool = False, **settings
) -> subprocess.CompletedProcess[str]:
    """A search as a user types it, with the small settings."""
    return run_bundle(*search_arguments(dataset, output, run_id, settings), *args, new=new)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function that gives a folder which the first of pytest-xdist's workers fills: a copy for each worker."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent

    def get(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = common / f"common_{name}", common / f"common_{name}_is_filled"
        with FileLock(common / f"common_{name}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that has failed
                fill(folder)
                filled.touch()
        return Path(shutil.copytree(folder, tmp_path_factory.mktemp("own") / name))

    return get


@pytest.fixture(scope="session")
def small_phantom(once):
    return once("phantom", lambda folder: make_phantom_dataset(folder, num_cases=10, size=(28, 32, 20)))


@pytest.fixture(scope="session")
def finished(small_phantom, once):
    """Folder of a small search that has ended, its network trained well enough to segment."""

    def fill(output: Path) -> None:
        settings = {"final_epochs": FINAL_EPOCHS, "controller#report#share": 0.01}
        done = run_search(small_phantom, output, new=True, **settings)
        assert done.returncode == 0, done.stderr
        (output / "stdout.txt").write_text(done.stdout, encoding="utf-8")

    return once("finished", fill)


@pytest.fixture(scope="session")
def searched(real_data, once):
    """Folder of a small search on the hippocampus volumes that has ended."""

    def fill(output: Path) -> None:
        settings = {"episodes": 1, "final_epochs": 120, "reward_fraction": 0.05, "channels": "[8,12,16,24]"}
        done = run_search(real_data, output, **settings)
        assert done.returncode == 0, done.stderr

    return once("hippocampus", fill)


@pytest.fixture(scope="session")
def label_python(tmp_path_factory):
    """Python of an environment with MONAI Label: that of ``RONAS_LABEL_PYTHON``, or of one made for the tests."""
    given = os.environ.get("RONAS_LABEL_PYTHON")
    if given:
        yield Path(given)
        return
    if sys.version_info >= (3, 12):
        pytest.skip("MONAI Label 0.8.5 needs Python 3.11 or older: set RONAS_LABEL_PYTHON")
    folder = tmp_path_factory.mktemp("label") / "venv"
    try:
        yield make_environment(folder)
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no environment with MONAI Label: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

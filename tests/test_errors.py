# SPDX-License-Identifier: Apache-2.0
"""Errors of a user are exceptions in a library and sentences on a command line."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import monai.bundle
import pytest
from monai.bundle import ConfigParser, create_workflow

import monai_ronas.bundle
from monai_ronas import RonasError, find_error
from monai_ronas.bundle.command_line import sentence
from monai_ronas.data import DatasetError, VolumeError
from monai_ronas.errors import SettingError
from monai_ronas.space import RonasSpace
from monai_ronas.utils import TrainingError

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
SEARCH = ROOT / "bundles" / "ronas" / "configs" / "search.json"


def config_of(name):
    return SEARCH if name == "search" else RELEASED / "configs" / f"{name}.json"


def workflow_of(name, tmp_path, **more):
    root = tmp_path if name == "search" else RELEASED
    settings = {"bundle_root": str(root), "dataset_dir": str(tmp_path / "missing"), "output_dir": str(tmp_path / "out")}
    kind = "inference" if name in ("inference", "evaluate") else "training"
    if name == "search":
        more["run_id"] = "verify"
    return create_workflow(config_file=str(config_of(name)), workflow_type=kind, logging_file=False, **settings, **more)


@pytest.mark.parametrize("kind", [SettingError, DatasetError, VolumeError, TrainingError])
def test_all_errors_are_of_one_tree(kind):
    assert issubclass(kind, RonasError)
    assert issubclass(kind, RuntimeError if kind is TrainingError else ValueError)


@pytest.mark.parametrize("name", ["search", "inference", "evaluate", "train"])
def test_a_missing_data_set_is_an_exception_in_a_library(name, tmp_path):
    hook = sys.excepthook
    workflow = workflow_of(name, tmp_path)
    assert sys.excepthook is hook
    for act in (workflow.check_properties, workflow.run):
        with pytest.raises(RuntimeError) as caught:
            act()
        assert isinstance(find_error(caught.value), DatasetError)
        told = "does not exist" if name == "inference" else "is not a folder"
        assert f"dataset_dir '{tmp_path}/missing' {told}" in str(find_error(caught.value))


def test_other_errors_of_the_user_are_exceptions_too(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        workflow_of("search", tmp_path, resume="perhaps")
    assert "resume must be true or false, received 'perhaps'" in str(find_error(caught.value))
    target = {"_target_": "monai_ronas.space.RonasSpace", "shape": [64, 64, 64], "overrides": {"no": [1]}}
    with pytest.raises(RuntimeError) as caught:
        ConfigParser({"space": target}).get_parsed_content("space")
    assert isinstance(find_error(caught.value), SettingError)
    with pytest.raises(SettingError, match="overrides name no decision of the space"):
        RonasSpace(shape=[64, 64, 64], overrides={"no": [1]})


def test_a_bundle_is_loaded_without_its_data():
    for kind in ("inference", "train"):
        network = monai.bundle.load(RELEASED.name, bundle_dir=str(RELEASED.parent), workflow_type=kind, device="cpu")
        assert type(network).__name__ == "RonasUNet"


def test_nothing_is_done_outside_of_a_command():
    hook = sys.excepthook
    monai_ronas.bundle.begin_command()
    assert sys.excepthook is hook


def command(tmp_path, *initialize, name="run"):
    """``python -m monai.bundle run`` on a configuration of these steps."""
    content = {
        "imports": ["$import monai_ronas", "$import monai_ronas.bundle"],
        "initialize": list(initialize),
        "run": [],
    }
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(tmp_path / "config.json")]
    return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_an_error_of_the_user_is_a_sentence_on_a_command_line(tmp_path):
    step = f"$monai_ronas.bundle.list_volumes('{tmp_path}/missing')"
    done = command(tmp_path, "$monai_ronas.bundle.begin_command()", step)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"monai_ronas: dataset_dir '{tmp_path}/missing' does not exist: give a file, a folder of volumes or a data set."
    )
    assert "Traceback" not in done.stderr


def test_an_error_of_the_program_keeps_its_traceback(tmp_path):
    done = command(tmp_path, "$monai_ronas.bundle.begin_command()", "$1 / 0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_an_interruption_ends_with_the_status_of_shells(tmp_path):
    heeded = "$__import__('signal').signal(2, __import__('signal').default_int_handler)"  # in a background job as well
    raised = "$__import__('signal').raise_signal(2)"
    done = command(tmp_path, heeded, "$monai_ronas.bundle.begin_command(resumes=True)", raised)
    assert done.returncode == 130
    assert "interrupted; run the same command again: it continues from the last checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "saved", "told"),
    [
        ("SIGTERM", False, "; run the same command again: it continues from the last checkpoint"),
        ("SIGUSR1", True, ", saved; the same command goes on"),
    ],
)
def test_a_signal_to_stop_ends_with_a_status_of_its_own(tmp_path, name, saved, told):
    raised = f"__import__('signal').raise_signal(__import__('signal').{name})"
    mark = f"$setattr(__import__('monai_ronas.utils').utils.Stopped, 'saved', {saved})"
    done = command(tmp_path, "$monai_ronas.bundle.begin_command(resumes=True)", mark, f"${raised}")
    assert done.returncode == 75
    assert f"stopped by {name}{told}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("step", "status"), [("$1 + 1", 0), ("$monai_ronas.bundle.list_volumes('/x/missing')", 1)])
def test_a_signal_to_what_has_ended_changes_nothing(tmp_path, step, status):
    late = "$__import__('atexit').register(__import__('signal').raise_signal, 15)"
    done = command(tmp_path, late, "$monai_ronas.bundle.begin_command()", step)
    assert done.returncode == status
    assert "Stopped" not in done.stderr
    assert ("does not exist" in done.stderr) == bool(status)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/history.jsonl"),
            "No space left on device in '/x/history.jsonl': mend it and run it again.",
        ),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system: mend it and run it again."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            "Permission denied in '/x': mend it and run it again.",
        ),
        (TrainingError("the loss is odd."), "the loss is odd."),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."),
            "a data loading process was killed, often for want of memory or of room in /dev/shm: set the data loader's "
            "num_workers to 0 and run it again.",
        ),
        (RuntimeError("a fault of ours"), None),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), None),
        (ValueError("a fault of ours"), None),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_failures_of_the_surroundings_are_a_sentence(error, told, wrapped):
    if wrapped:
        other = RuntimeError("Failed to evaluate")
        other.__cause__ = error
        error = other
    assert sentence(error, again="run it again") == told

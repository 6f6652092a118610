# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.benchmarks import runs


@pytest.fixture
def started(monkeypatch):
    """Commands that were run, with the threads they were given; each leaves a result, but for those named 'broken'."""
    found = []

    def pretend(words, env=None):
        found.append((words[3], None if env is None else env["OMP_NUM_THREADS"]))
        if words[3] == "broken":
            return SimpleNamespace(returncode=1)
        folder = Path(words[words.index("--output_dir") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps({"command": words[3:]}), encoding="utf-8")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(runs.subprocess, "run", pretend)
    return found


def command(tmp_path, name, minutes=1.0):
    return runs.command(name, tmp_path / name, dataset_dir="data", minutes=minutes, extra=["--augment", "true"])


def test_a_result_of_the_same_command_is_not_made_again(tmp_path, started):
    runs.run([command(tmp_path, "base")])
    runs.run([command(tmp_path, name) for name in ("base", "unet")])
    assert started == [("base", None), ("unet", None)]
    words = "base --dataset_dir data --output_dir {} --minutes 1.0 --seed 0 --augment true".format(tmp_path / "base")
    assert runs.read_result(tmp_path / "base") == {"command": words.split()}


def test_a_result_of_another_command_is_refused_before_anything_runs(tmp_path, started):
    runs.run([command(tmp_path, "base")])
    with pytest.raises(SystemExit, match=r"is of another command .*--minutes 1.0.*: give another --output_dir"):
        runs.run([command(tmp_path, "unet"), command(tmp_path, "base", minutes=2.0)])
    assert started == [("base", None)]


def test_what_fails_is_told_when_all_others_are_done(tmp_path, started):
    with pytest.raises(SystemExit, match=r"failed, see above: .*broken"):
        runs.run([command(tmp_path, name) for name in ("broken", "base", "unet")], at_once=2)
    assert sorted(started) == [("base", "1"), ("broken", "1"), ("unet", "1")]
    assert not runs.is_missing(command(tmp_path, "unet"))
    assert runs.is_missing(command(tmp_path, "broken"))


def test_other_cases_are_not_compared():
    with pytest.raises(ValueError, match="not tested on the same cases"):
        runs.differences({"a": 1.0}, {"b": 1.0})

# SPDX-License-Identifier: Apache-2.0
"""Failures of the surroundings, injected."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from monai_ronas.bundle import claim_folder, one_sentence, protected, stop_in_a_sentence
from monai_ronas.utils import Stopped, TrainingError, write_atomically


def failing(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize("wrapper", [protected, one_sentence])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/history.jsonl"),
            "No space left.*'/x/history.jsonl'.*same",
        ),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system: mend it and run the same command"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied in '/x'"),
        (TrainingError("the loss is odd."), "^monai_ronas: the loss is odd.$"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "num_workers to 0"),
    ],
)
def test_failures_of_the_surroundings_are_a_sentence(wrapper, error, message):
    with pytest.raises(SystemExit, match=message):
        wrapper(failing(error))


def test_an_interruption_ends_with_the_status_of_shells():
    with pytest.raises(SystemExit) as caught:
        protected(failing(KeyboardInterrupt()))
    assert caught.value.code == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("saved", [True, False])
def test_a_signal_to_stop_ends_with_a_status_of_its_own(caplog, number, saved):
    def stopped():
        try:
            signal.raise_signal(number)
        except Stopped as stop:
            stop.saved = saved
            raise

    with pytest.raises(SystemExit) as caught:
        protected(stopped)
    assert caught.value.code == 75
    told = ", saved; the same command goes on" if saved else "; run the same command again: it continues"
    assert caplog.messages[-1].startswith(f"stopped by {number.name}{told}")


def test_outside_of_a_command_reading_a_configuration_leaves_signals_to_the_program(monkeypatch):
    assert one_sentence(signal.getsignal, signal.SIGTERM) == signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "monai.bundle", "run", "search"])
    with pytest.raises(SystemExit) as caught:
        one_sentence(signal.raise_signal, signal.SIGTERM)
    assert caught.value.code == 75


def test_between_protected_calls_a_command_ends_with_the_same_status(monkeypatch, caplog):
    earlier = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)]
    stop_in_a_sentence()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)] == earlier  # it is no command
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "monai.bundle", "run", "search"])
    try:
        stop_in_a_sentence()
        assert protected(int, "7") == 7
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGTERM, earlier[0])
        signal.signal(signal.SIGUSR1, earlier[1])
    assert caught.value.code == 75
    assert caplog.messages[-1].startswith("stopped by SIGUSR1; run the same command again")


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), FileNotFoundError(errno.ENOENT, "x"), ValueError()])
def test_faults_of_the_program_stay_what_they_are(error):
    with pytest.raises(type(error)):
        protected(failing(error))


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    write_atomically(path, lambda file: file.write(b"old"))
    monkeypatch.setattr(os, "fsync", lambda handle: failing(OSError(errno.ENOSPC, "No space left on device"))())
    with pytest.raises(SystemExit, match="No space left"):
        protected(write_atomically, path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.pt"]


def test_a_folder_belongs_to_one_process_until_it_ends(tmp_path):
    code = (
        "import sys, time; from monai_ronas.bundle import claim_folder; claim_folder(sys.argv[1]); "
        "print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(ValueError, match="another search is running in output_dir"):
            claim_folder(tmp_path)
        other.kill()
        other.wait()
    claim_folder(tmp_path)
    claim_folder(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"):
        claim_folder(tmp_path / "file" / "output")

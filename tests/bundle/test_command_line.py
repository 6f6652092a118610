# SPDX-License-Identifier: Apache-2.0
"""Keys on the command line."""

import json
import re
import signal
import sys
from contextlib import ExitStack

import pytest

from monai_ronas.bundle import begin_command, command_line, refuse_misread_words, refuse_unknown_keys
from monai_ronas.bundle.command_line import sentence
from monai_ronas.utils import Stopped, ranks


@pytest.fixture
def command(tmp_path):
    """The beginning of a command with two configurations."""
    files = [tmp_path / "search.json", tmp_path / "overlay.json"]
    for file, content in zip(files, ({"time_budget_minutes": None, "controller": {}}, {"channels": [8]}), strict=True):
        file.write_text(json.dumps(content), encoding="utf-8")
    files = str([str(file) for file in files])
    return ["python", "-m", "monai.bundle", "run", "search", "--config_file", files]


def test_keys_of_the_configurations_and_of_monai_pass(command):
    keys = [
        "--time_budget_minutes",
        "5",
        "--channels=[8]",
        "--controller#loss#weight",
        "-0.1",
        "--controller::a",
        "1",
        "--+channels",
        "[4]",
    ]
    refuse_unknown_keys([*command, *keys, "--meta_file", "m.json", "--run_id", "search"])


def test_misspelt_key_is_refused_with_the_nearest(command):
    with pytest.raises(
        ValueError, match=r"^--time_budget_minuts is not a key .* did you mean --time_budget_minutes\?$"
    ):
        refuse_unknown_keys([*command, "--time_budget_minuts", "5"])


def test_a_key_that_has_gone_passes_with_a_warning(command, caplog):
    refuse_unknown_keys([*command, "--trial_epochs", "1"])
    assert "--trial_epochs has no effect any more" in caplog.text


def test_misspelt_section_is_refused(command):
    with pytest.raises(ValueError, match=r"^--controler#loss is not a key .* did you mean --controller\?$"):
        refuse_unknown_keys([*command, "--controler#loss=1"])


def test_key_without_a_neighbour(command):
    with pytest.raises(ValueError, match=r"^--xyz is not a key .* the README lists the keys\.$"):
        refuse_unknown_keys([*command, "--xyz", "5"])


def test_settings_of_tracking_pass_with_tracking_only(command):
    refuse_unknown_keys([*command, "--tracking", "mlflow", "--experiment_name", "a"])
    with pytest.raises(ValueError, match="experiment_name"):
        refuse_unknown_keys([*command, "--experiment_name", "a"])


def test_outside_a_command_nothing_is_refused():
    refuse_unknown_keys()
    refuse_unknown_keys(["python", "script.py", "--whatever", "1"])


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("2024", "2024"),
        ("1_2", "12"),
        ("a,b", r"\('a', 'b'\)"),
        ("Task#1", "'Task'"),
        ("0x1F", "31"),
        ("[a]", r"\['a'\]"),
    ],
)
@pytest.mark.parametrize("key", ["dataset_dir", "output_dir", "export_dir", "bundle_root"])
@pytest.mark.parametrize("sign", [True, False])
def test_names_of_folders_are_text_or_refused(command, word, read, key, sign):
    words = [f"--{key}={word}"] if sign else [f"--{key}", word]
    with pytest.raises(
        ValueError, match=rf"--{key} {word} would be read as {read}: write --{key} \./".replace("[a] ", r"\[a\] ")
    ):
        refuse_misread_words([*command, *words])
    refuse_misread_words([*command, f"--{key}", f"./{word}"])


@pytest.mark.parametrize(
    "word", ["Task04_Heart", "/data/2024", "a b", "'2024'", "Überblick", "data/a,b", "null", "None"]
)
def test_other_names_of_folders_pass(command, word):
    refuse_misread_words([*command, "--dataset_dir", word, "--episodes", "8", "--group", "12"])


@pytest.mark.parametrize(("word", "python"), [("true", "True"), ("false", "False"), ("null", "None")])
@pytest.mark.parametrize("key", ["loss#loss#batch", "+loss#loss#batch", "inferer::amp"])
def test_a_word_of_json_for_a_component_is_refused(command, key, word, python):
    for words in ([f"--{key}", word], [f"--{key}={word}"]):
        told = re.escape(f"--{key} {word} would be read as the text '{word}': write --{key} {python}")
        with pytest.raises(ValueError, match=told):
            refuse_misread_words([*command, *words])
    refuse_misread_words([*command, f"--{key}", python, "--augment", word])


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (2, "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1", True),
        (1, "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1", False),
        (2, "cannot open /data/igloo/1.nii", False),
    ],
)
def test_a_process_that_ends_within_what_others_gather_is_told_in_a_sentence(monkeypatch, number, words, told):
    monkeypatch.setattr(ranks._ranks, "number", number)
    error = TypeError("unable to sync buffer contents")  # as MONAI's metrics have it
    error.__cause__ = RuntimeError(words)
    expected = "another process of this run has ended or does not answer: see its own message; then begin again."
    assert sentence(error, again="begin again") == (expected if told else None)


def stopped(others):
    """The error of a command that gets a signal, of which others make one of their own."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except Stopped as stop:
        return RuntimeError("cannot compile") if others else stop
    raise AssertionError


@pytest.mark.parametrize("others", [False, True])
def test_a_stop_ends_a_command_as_a_stop_whatever_others_make_of_it(monkeypatch, caplog, others):
    monkeypatch.setattr(command_line, "_command", lambda: ("-m", "monai.bundle"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    process = ExitStack()
    monkeypatch.setattr(command_line, "_until_the_end", process)
    begin_command(resumes=True)
    error = stopped(others)
    with pytest.raises(SystemExit) as ended:
        sys.excepthook(type(error), error, None)
    with pytest.raises(Stopped):
        process.close()
    assert ended.value.code == 75
    assert "stopped by SIGTERM; run the same command again: it continues from the last checkpoint, where" in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Keys on the command line."""

import json

import pytest

from monai_ronas.bundle import refuse_unknown_keys


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
    with pytest.raises(ValueError, match=r"^--time_budget_minuts is no key .* did you mean --time_budget_minutes\?$"):
        refuse_unknown_keys([*command, "--time_budget_minuts", "5"])


def test_misspelt_section_is_refused(command):
    with pytest.raises(ValueError, match=r"^--controler#loss is no key .* did you mean --controller\?$"):
        refuse_unknown_keys([*command, "--controler#loss=1"])


def test_key_without_a_neighbour(command):
    with pytest.raises(ValueError, match=r"^--xyz is no key .* the README lists the keys\.$"):
        refuse_unknown_keys([*command, "--xyz", "5"])


def test_settings_of_tracking_pass_with_tracking_only(command):
    refuse_unknown_keys([*command, "--tracking", "mlflow", "--experiment_name", "a"])
    with pytest.raises(ValueError, match="experiment_name"):
        refuse_unknown_keys([*command, "--experiment_name", "a"])


def test_outside_a_command_nothing_is_refused():
    refuse_unknown_keys()
    refuse_unknown_keys(["python", "script.py", "--whatever", "1"])

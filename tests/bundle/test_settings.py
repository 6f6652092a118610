# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_ronas.bundle import Settings

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"

PLAIN = {"resume": True, "amp": False, "fold": 0, "time_budget_minutes": 12, "memory_budget_gb": None}


def test_words_of_the_command_line_are_taken_for_what_they_say():
    given = Settings(resume="false", amp="True", fold="null", time_budget_minutes="None", memory_budget_gb="null")
    assert given == Settings(resume=False, amp=True, fold=None, time_budget_minutes=None, memory_budget_gb=None)
    assert Settings(**PLAIN).time_budget_minutes == 12


def test_null_lets_the_data_decide_and_a_list_rules():
    assert Settings(**PLAIN).flip_axes is None
    assert Settings(**PLAIN, flip_axes="null").flip_axes is None
    assert Settings(**PLAIN, flip_axes=[]).flip_axes == ()
    assert Settings(**PLAIN, flip_axes=[0, 2]).flip_axes == (0, 2)


@pytest.mark.parametrize(
    ("given", "minutes", "expected"), [(None, None, 8), ("null", 12, 150), (3, 12, 3), (0, None, 0)]
)
def test_the_number_of_episodes_follows_from_the_time_unless_it_is_given(given, minutes, expected):
    assert Settings(episodes=given, time_budget_minutes=minutes).episodes == expected


@pytest.mark.parametrize(("given", "expected"), [("null", None), (0, 0), (0.5, 0.5)])
def test_the_end_of_the_episodes_may_be_left_open(given, expected):
    assert Settings(search_until=given).search_until == expected


def test_expressions_and_files_stay_text_unless_they_say_null():
    given = Settings(**PLAIN, group=r"(patient\d+)_", splits_file="None")
    assert (given.group, given.splits_file) == (r"(patient\d+)_", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resume": "maybe"}, "resume must be true or false, received 'maybe'"),
        ({"flip_axes": [0, 3]}, "flip_axes must be null or a list of axes, each of 0, 1 and 2 at most once, received"),
        ({"flip_axes": [1, 1]}, r"received \[1, 1\]"),
        ({"flip_axes": 0}, "flip_axes must be null or a list of axes, .*, received 0"),
        ({"flip_axes": [[0]]}, r"received \[\[0\]\]"),
        ({"fold": "abc"}, "fold must be a whole number or null, received 'abc'"),
        ({"fold": 1.5}, "fold must be a whole number or null, received 1.5"),
        ({"channels": [True, 2]}, r"list of two or more positive numbers, received \[True, 2\]"),
        ({"memory_budget_gb": [1]}, r"memory_budget_gb must be a positive number or null, received \[1\]"),
        ({"time_budget_minutes": float("nan")}, "time_budget_minutes must be a positive number or null, received nan"),
        ({"group": 5}, "group must be text or null, received 5"),
        ({"splits_file": True}, "splits_file must be text or null, received True"),
        ({"deterministic": 2}, "deterministic must be true or false, received 2"),
        ({"augment": "perhaps"}, "augment must be true, false or null, received 'perhaps'"),
        ({"amp": 1}, "amp must be true or false, received 1"),
        ({"time_budget_minutes": -1}, "time_budget_minutes must be a positive number or null, received -1"),
        ({"time_budget_minutes": "soon"}, "time_budget_minutes must be a positive number or null, received 'soon'"),
        ({"memory_budget_gb": 0}, "memory_budget_gb must be a positive number or null, received 0"),
        ({"episodes": "abc"}, "episodes must be a whole number of at least 0 or null, received 'abc'"),
        ({"episodes": 2.5}, "episodes must be a whole number of at least 0 or null, received 2.5"),
        ({"children_per_episode": 0}, "children_per_episode must be a whole number of at least 1, received 0"),
        ({"reward_cases_per_episode": 0}, "reward_cases_per_episode must be a whole number of at least 1 or null, rec"),
        ({"child_epochs": 0.5, "batch_size": True}, "batch_size must be a whole number of at least 1, received True"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number of at least 0, received nan"),
        ({"warmup_until": -1}, "warmup_until must be a number of at least 0, received -1"),
        ({"search_until": -0.1}, "search_until must be a number of at least 0 or null, received -0.1"),
        ({"warmup_epochs": None}, "warmup_epochs must be a number of at least 0, received None"),
        ({"seed": (1, 2)}, r"seed must be a whole number of at least 0, received \(1, 2\)"),
        ({"cost_exponent": "small"}, "cost_exponent must be a number, received 'small'"),
    ],
)
def test_other_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{**PLAIN, **change})


@pytest.mark.parametrize(
    ("card", "amp", "expected"),
    [((7, 5), None, (True, True)), ((7, 5), False, (False, False)), ((9, 0), None, (True, False))],
)
def test_a_search_scales_its_losses_on_a_card_without_bfloat16(monkeypatch, card, amp, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: card)
    config = ConfigParser.load_config_file(SEARCH) | {"device": "$torch.device('cuda:0')"}
    if amp is not None:
        config["amp"] = amp
    parser = ConfigParser(config)
    settings, scaled = (parser.get_parsed_content(name) for name in ("settings", "train#trainer#amp"))
    assert (settings.amp, scaled) == expected
    assert settings.deterministic is False

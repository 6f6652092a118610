# SPDX-License-Identifier: Apache-2.0
"""The configuration of the search, as a person reads it."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from monai_ronas.bundle import Settings
from monai_ronas.space import make_plan
from tests.json_layout import WIDTH, layout

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs"
SEARCH = CONFIGS / "search.json"


@pytest.mark.parametrize("name", ["search", "ronasmis", "multi_gpu_search"])
def test_the_layout_is_the_committed_one(name):
    text = (CONFIGS / f"{name}.json").read_text(encoding="utf-8")
    assert text == layout(json.loads(text)) + "\n", (
        f"run: python -m tests.json_layout bundles/ronas/configs/{name}.json"
    )


def test_a_person_can_read_it():
    lines = SEARCH.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert [line for line in lines if len(line) > WIDTH] == []


def test_the_settings_are_keys_with_the_defaults_of_their_class():
    known = json.loads(SEARCH.read_text(encoding="utf-8"))
    given = {name: value for name, value in known["settings"].items() if name != "_target_"}
    assert given == {field.name: f"@{field.name}" for field in fields(Settings)}
    constant = {name: known[name] for name in given if not str(known[name]).startswith("$")}
    assert set(given) - set(constant) == {"amp"}
    assert constant == {field.name: field.default for field in fields(Settings) if field.name != "amp"}


def test_the_space_has_all_that_the_plan_decides():
    plan = make_plan((216, 256, 9), (1.5, 1.5, 10.0), fits=lambda draft: True)
    space = json.loads(SEARCH.read_text(encoding="utf-8"))["space"]
    assert plan.space_arguments().keys() <= space.keys()


def test_a_line_holds_arguments_and_a_component_begins_with_its_target():
    part = {"_target_": "Dataset", "data": ["a", "b"]}
    long = {"_target_": "DataLoader", "dataset": part, "sampler": "@" + "s" * 90, "batch_size": 2, "num_workers": 0}
    expected = [
        "{",
        '    "steps": [',
        '        "$a()",',
        '        "$b()"',
        "    ],",
        '    "part": {"_target_": "Dataset", "data": ["a", "b"]},',
        '    "loader": {"_target_": "DataLoader",',
        '        "dataset": {"_target_": "Dataset", "data": ["a", "b"]},',
        f'        "sampler": "@{"s" * 90}",',
        '        "batch_size": 2, "num_workers": 0}',
        "}",
    ]
    assert layout({"steps": ["$a()", "$b()"], "part": part, "loader": long}).splitlines() == expected

# SPDX-License-Identifier: Apache-2.0
"""The table that ends a search."""

from dataclasses import replace

import pytest

from monai_ronas.bundle import BundleExporter, summary_table
from monai_ronas.utils import ChildScore

from .exporting import FACTS, result_of, supernet_of


def test_the_table_says_where_the_trained_network_was_not_measured(study):
    supernet = supernet_of(study)
    found = result_of(supernet.space.base)
    assert "test Dice" not in summary_table(supernet, found, seconds=1.0, where={})
    for changed in ({"remark": "before it"}, {"score": None}):
        table = summary_table(supernet, replace(found, **changed), seconds=1.0, where={})
        assert "test Dice  not measured: there are no test cases\n" in table
        table = summary_table(supernet, replace(found, **changed, test_cases=5), seconds=1.0, where={})
        assert "test Dice  not measured: the bundle's evaluate.json measures it\n" in table
        assert ("reward Dice" in table) == ("score" not in changed)
    test = ChildScore(reward=0.75, per_case=(0.7, 0.8), seconds=1.0, peak_memory_mb=1.0)
    table = summary_table(supernet, replace(found, remark="before it", test=test), seconds=1.0, where={})
    assert "test Dice  0.7500" in table
    assert "not measured" not in table
    assert "did not allow" not in table
    part = replace(found, test=test, test_names=("x", "y"), test_cases=9)
    table = summary_table(supernet, part, seconds=1.0, where={})
    assert "(standard error, 2 cases), Dice on 2 of the 9 test cases, the time did not allow more" in table


def test_the_summary_tells_where_things_are(study, tmp_path):
    supernet = supernet_of(study)
    exporter = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS)
    found = result_of(supernet.space.base)
    lines = [line.split() for line in exporter.summary(found, 90.0, tmp_path).splitlines()]
    assert ["time", "1.5", "min"] in lines
    assert ["bundle", str(tmp_path / "bundle")] in lines
    assert ["report", str(tmp_path / "search_report.html")] in lines
    assert ["history", str(tmp_path / "history.jsonl")] in lines
    assert "search_report.html" not in exporter.summary(found, 90.0)


def test_cases_without_foreground_are_counted_apart(study):
    supernet = supernet_of(study)
    test = ChildScore(reward=0.75, per_case=(0.7, float("nan"), 0.8), seconds=1.0, peak_memory_mb=1.0)
    found = replace(result_of(supernet.space.base), test=test)
    table = summary_table(supernet, found, seconds=1.0, where={})
    assert "test Dice  0.7500 +- 0.0500 (standard error, 2 cases, 1 more without foreground)" in table
    one = replace(found, test=replace(test, reward=0.7, per_case=(0.7, float("nan"))))
    table = summary_table(supernet, one, seconds=1.0, where={})
    assert "test Dice  0.7000 (1 case, 1 more without foreground)" in table


@pytest.mark.parametrize(("steps", "few"), [(2, True), (299, True), (300, False)])
def test_a_training_that_was_too_short_is_told_as_such(study, tmp_path, steps, few):
    supernet = supernet_of(study)
    found = replace(result_of(supernet.space.base), steps=steps)
    more = "give the search more time, or without a time budget more final_epochs"
    told = f", too few for a usable network (300 at least): {more}"
    table = summary_table(supernet, found, seconds=1.0, where={})
    assert f"training  {steps} steps{told if few else ''}\n" in table
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(found, seconds=1.0)
    text = (bundle / "docs" / "README.md").read_text()
    more = f", but with {steps} steps{told}." if few else " and needs no retraining."
    assert f"It was trained by the search itself{more}\n" in text

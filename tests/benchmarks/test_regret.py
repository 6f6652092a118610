# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.regret import halves, make_commands, regret, summarize, table

CASES = ("p1_a", "p1_b", "p2_a", "p2_b", "p3_a", "p4_a")
GROUPS = {case: case[:2] for case in CASES}


def test_halves_keep_groups_together_and_are_level():
    first, second = halves(GROUPS)
    assert (first, second) == (["p1_a", "p1_b", "p3_a"], ["p2_a", "p2_b", "p4_a"])
    assert not {GROUPS[case] for case in first} & {GROUPS[case] for case in second}
    first, second = halves({case: case for case in CASES})
    assert len(first) == len(second) == 3
    assert sorted(first + second) == sorted(CASES)


def test_a_single_group_has_no_halves():
    with pytest.raises(ValueError, match="of two groups at least, received 1"):
        halves({"a": "p", "b": "p"})


def test_the_best_plan_is_chosen_on_the_half_on_which_it_is_not_compared():
    parts = (["a", "b"], ["c", "d"])
    lucky = {"a": 0.9, "b": 0.9, "c": 0.5, "d": 0.7}  # best on the first half, compared on the second
    steady = {"a": 0.7, "b": 0.8, "c": 0.8, "d": 0.8}
    found = regret({"lucky": lucky, "steady": steady}, dict.fromkeys("abcd", 0.5), parts)
    assert found["chosen"] == ["steady", "lucky"]
    assert found["of_halves"] == pytest.approx([0.25, 0.1])
    assert found["mean"] == pytest.approx(0.175)
    paired = [0.2, 0.3, 0.0, 0.2]
    assert found["standard_error"] == pytest.approx(np.std(paired, ddof=1) / 2)


def test_plans_that_differ_by_luck_alone_are_no_regret():
    draw = np.random.default_rng(0)
    cases = [str(n) for n in range(40)]
    parts = (cases[:20], cases[20:])
    means, luck = [], []
    for _ in range(100):
        grid = {n: dict(zip(cases, draw.normal(0.8, 0.1, 40), strict=True)) for n in map(str, range(12))}
        ours = dict(zip(cases, draw.normal(0.8, 0.1, 40), strict=True))
        means.append(regret(grid, ours, parts)["mean"])
        luck.append(max(np.mean(list(plan.values())) for plan in grid.values()) - np.mean(list(ours.values())))
    assert abs(np.mean(means)) < 0.006
    assert np.mean(luck) > 0.02


def test_a_case_without_foreground_is_left_out():
    grid = {"p": {"a": 0.8, "b": float("nan"), "c": 0.6, "d": 0.7}}
    ours = {"a": 0.7, "b": float("nan"), "c": 0.6, "d": 0.5}
    found = regret(grid, ours, (["a", "b"], ["c", "d"]))
    assert found["of_halves"] == pytest.approx([0.1, 0.1])
    assert np.isfinite(found["standard_error"])


def result(dice, **more):
    per_case = dict(zip(CASES, dice, strict=True))
    plan = {"strides": [[2, 2, 1], [2, 2, 2]], "patch": [32, 32, 8], "channels": [12, 24]}
    row = {"parameters": 5e5, "steps": 100, "minutes": 1.0, "cpu_minutes": 2.0, "windows": False, "plan": plan}
    return {**row, "per_case": per_case, "mean_dice": float(np.mean(dice)), **more}


@pytest.fixture
def found():
    return {
        "search": [result([0.8] * 6), result([0.6] * 6, windows=True)],
        "random": [result([0.7] * 6), result([0.5] * 6)],
        "dynunet_sgd": [result([0.5, 0.7] * 3, cpu_minutes=3.0)],
        "grid_a": [result([0.9] * 6)],
        "grid_b": [result([0.3] * 6)],
    }


def test_the_report_has_regret_and_paired_differences(found):
    report = summarize(found, ["grid_a", "grid_b"], GROUPS)
    assert report["cases"] == 6
    assert set(report["regret"]) == {"search", "random", "dynunet_sgd"}
    assert report["regret"]["search"]["mean"] == pytest.approx(0.2)
    assert report["regret"]["search"]["chosen"] == ["grid_a", "grid_a"]
    assert report["regret_of_seeds"] == pytest.approx([0.1, 0.3])
    peer = report["contenders"]["dynunet_sgd"]
    assert (peer["mean_dice"], peer["search_minus_it"]) == pytest.approx((0.6, 0.1))
    assert peer["standard_error"] == peer["standard_error_of_that"] == pytest.approx(0.1 * (6 / 5 / 6) ** 0.5)
    assert report["reinforce_minus_random"]["mean"] == pytest.approx(0.1)
    assert report["reinforce_minus_random"]["of_seeds"] == pytest.approx([0.1, 0.1])


def test_the_table_is_ordered_by_dice(found):
    text = table(summarize(found, ["grid_a", "grid_b"], GROUPS), found)
    assert "6 test cases: +0.2000 +- 0.0000 (by seed +0.1000, +0.3000), against grid_a," in text
    assert "`reinforce` minus `random`: +0.1000 +- 0.0000" in text
    assert "CPU minutes from 2.0 (search, everything included) to 3.0 (DynUNet, nnU-Net's plan and optimiser)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| grid a",
        "| search, everything included",
        "| search with random choice",
        "| DynUNet, nnU-Net's plan and optimiser",
        "| grid b",
    ]
    assert "| 2x2x1, 32x32x8, 12-24 | 0.50 M | 100 | 1.0 | 2.0 | windows in 1 of 2 | 0.7000 +- 0.0000 |" in rows[1]


def test_only_searches_run_for_every_seed_and_all_on_the_first_seeds_split():
    given = Namespace(
        dataset_dir="data", output_dir=Path("out"), minutes=2.0, seeds=[5, 6], fold=1, peers=["unet"], random=True
    )
    cells = {"grid_half_1_1": {"resolution": "half", "width": 1.0, "area": 1.0}}
    commands = make_commands(given, ["--group", r"(p\d+)_"], cells)
    assert {name: len(several) for name, several in commands.items()} == {
        "search": 2,
        "random": 2,
        "base": 1,
        "first_version": 1,
        "unet": 1,
        "grid_half_1_1": 1,
    }
    for words in (words for several in commands.values() for words in several):
        for name, value in (("--fold", "1"), ("--split_seed", "5"), ("--group", r"(p\d+)_"), ("--minutes", "2.0")):
            assert words[words.index(name) + 1] == value
    assert [words[words.index("--seed") + 1] for words in commands["random"]] == ["5", "6"]
    assert [words[words.index("--strategy") + 1] for words in commands["random"]] == ["random"] * 2
    grid = commands["grid_half_1_1"][0]
    assert "--curve" in grid
    assert [grid[grid.index(f"--{key}") + 1] for key in ("resolution", "width", "area", "seed")] == [
        "half",
        "1.0",
        "1.0",
        "5",
    ]
    folders = [words[words.index("--output_dir") + 1] for several in commands.values() for words in several]
    assert len(set(folders)) == len(folders) == 8
    given.random = False
    assert "random" not in make_commands(given, [], cells)

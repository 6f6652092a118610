# SPDX-License-Identifier: Apache-2.0
r"""What a search loses against the best plan that somebody might have fixed for the data without it.

    python -m tests.benchmarks.regret --dataset_dir DATA --output_dir OUT --minutes 15 --seeds 0 1 2 [--together 2]

Every contender has the same minutes, loading included, and is tested on the same cases, which none has seen: the search
(with ``--random`` and ``--search_until`` also that with random choice) once for each seed, and once, with the first
seed, each plan of the grid (``grid.py``), the plan of a search without its search, the base network of version 0.1, and
DynUNet and SegResNet with the optimisers of their own frameworks and with ours (``peers.py``). The split is that of the
first seed and of ``--fold``. Further arguments are settings of ``search.json`` for all, such as ``--group
'(patient\d+)_'``. Crops are augmented for none but with ``--augment true``.

Regret is the Dice of the best plan of the grid minus that of the search. The best of many is partly so by luck: it is
chosen on one half of the test cases and compared on the other, both ways, and the mean of the two is told. Cases of a
group are in the same half.

The plans of the grid are scored on the way as a race scores them (``curves.py``): the report tells how well its
forecasts agree with the Dice at the end, and by how much the best plan was below the first.

Writes ``regret.json`` and ``regret.md``: the regret, mean Dice with its standard error over the cases, what the search
is ahead of each other contender, paired by case, and ``reinforce`` of ``random``. A search's Dice of a case is the mean
over the seeds. Each run has a folder and a ``result.json``: the same command runs what is missing. ``--together N``
runs so many at a time, with one thread each; otherwise one after the other has all threads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigWorkflow

from monai_ronas.data import Study
from monai_ronas.data.groups import group_cases
from tests.benchmarks.contender import SEARCH, settings
from tests.benchmarks.curves import fit_prior, judge_forecasts
from tests.benchmarks.grid import AREAS, WIDTHS, make_grid
from tests.benchmarks.peers import PEERS
from tests.benchmarks.runs import alike, command, differences, mean_and_error, read_result, run

SEARCHES = {"search": "search, everything included", "random": "search with random choice"}
TITLES = {"base": "its plan, no search", "first_version": "base network of version 0.1"}
RIVALS = ("dynunet_sgd", "dynunet_muon", "segresnet_auto3dseg", "segresnet_muon")


def halves(groups: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Cases in two halves, of which each group is in one.

    Args:
        groups: the group of each case.

    Raises:
        ValueError: when there is a single group.

    Example:
        >>> halves({"a1": "a", "a2": "a", "b1": "b", "c1": "c"})
        (['a1', 'a2'], ['b1', 'c1'])
    """
    members: dict[str, list[str]] = {}
    for case in sorted(groups):
        members.setdefault(groups[case], []).append(case)
    if len(members) < 2:
        raise ValueError(f"the test cases must be of two groups at least, received {len(members)}: no halves.")
    parts: tuple[list[str], list[str]] = ([], [])
    for cases in sorted(members.values(), key=lambda cases: (-len(cases), cases)):
        min(parts, key=len).extend(cases)
    return parts


def regret(
    grid: Mapping[str, Mapping[str, float]], ours: Mapping[str, float], parts: tuple[Sequence[str], Sequence[str]]
) -> dict[str, Any]:
    """Dice of the best plan, chosen on one half of the cases and compared on the other, minus ours.

    Args:
        grid: Dice of every case, for each plan.
        ours: Dice of every case.
        parts: the halves of the cases.

    Returns:
        ``mean`` of the two halves, ``standard_error`` over all cases, each compared with the plan that the other half
        chose, ``of_halves`` and the plans ``chosen`` for them.

    Example:
        >>> grid = {"p": {"a": 0.75, "b": 0.5}, "q": {"a": 0.5, "b": 0.75}}
        >>> regret(grid, {"a": 0.5, "b": 0.25}, (["a"], ["b"]))["of_halves"]
        [0.0, 0.25]
    """
    chosen, paired = [], []
    for judge, other in (parts, parts[::-1]):
        best = max(grid, key=lambda name: float(np.nanmean([grid[name][case] for case in other])))
        chosen.append(best)
        paired.append([grid[best][case] - ours[case] for case in judge])
    of_halves = [float(np.nanmean(values)) for values in paired]
    error = mean_and_error(np.concatenate(paired))[1]
    return {"mean": float(np.mean(of_halves)), "standard_error": error, "of_halves": of_halves, "chosen": chosen}


def mean_of_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Dice of every case, mean over the runs."""
    return {case: float(np.mean([row["per_case"][case] for row in rows])) for case in rows[0]["per_case"]}


def summarize(
    found: Mapping[str, Sequence[dict[str, Any]]], grid: Collection[str], groups: Mapping[str, str]
) -> dict[str, Any]:
    """All figures of the report.

    Args:
        found: the results of each contender, one or one for each seed.
        grid: the contenders that are plans of the grid.
        groups: the group of each test case.
    """
    dice = {name: mean_of_seeds(rows) for name, rows in found.items()}
    parts = halves(groups)
    plans = {name: dice[name] for name in grid}
    contenders = {}
    for name, rows in found.items():
        mean, error = mean_and_error(list(dice[name].values()))
        ahead, ahead_error = mean_and_error(differences(dice["search"], dice[name]))
        contenders[name] = {
            "mean_dice": mean,
            "standard_error": error,
            "of_seeds": [row["mean_dice"] for row in rows],
            "search_minus_it": ahead,
            "standard_error_of_that": ahead_error,
        }
    report: dict[str, Any] = {
        "cases": len(groups),
        "regret": {name: regret(plans, own, parts) for name, own in dice.items() if name not in plans},
        "regret_of_seeds": [regret(plans, row["per_case"], parts)["mean"] for row in found["search"]],
        "contenders": contenders,
    }
    judged = {name: found[name][0] for name in grid if "curve" in found[name][0]}
    if judged:
        report["forecasts"], report["curves"] = judge_forecasts(judged), fit_prior(judged)
    if "random" in found:
        pairs = zip(found["search"], found["random"], strict=True)
        mean, error = mean_and_error(differences(dice["search"], dice["random"]))
        of_seeds = [mean_and_error(differences(a["per_case"], b["per_case"]))[0] for a, b in pairs]
        report["reinforce_minus_random"] = {"mean": mean, "standard_error": error, "of_seeds": of_seeds}
    return report


def table(report: Mapping[str, Any], found: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The report in Markdown, the contenders from the best to the last."""
    of = report["regret"]
    chosen = " and ".join(dict.fromkeys(of["search"]["chosen"]))
    seeds = ", ".join(f"{value:+.4f}" for value in report["regret_of_seeds"])
    lines = [
        f"Regret of the search on {report['cases']} test cases: {_signed(of['search'])} (by seed {seeds}), against "
        f"{chosen}, the best of the grid on the other half of the cases."
    ]
    if "reinforce_minus_random" in report:
        ahead = report["reinforce_minus_random"]
        seeds = ", ".join(f"{value:+.4f}" for value in ahead["of_seeds"])
        lines += ["", f"`reinforce` minus `random`: {_signed(ahead)} (by seed {seeds})."]
    if "forecasts" in report:
        lines += ["", *_forecast_lines(report)]
    minutes = {name: float(np.mean([row["cpu_minutes"] for row in rows])) for name, rows in found.items()}
    ends = [f"{minutes[name]:.1f} ({_title(name)})" for name in sorted(minutes, key=lambda name: minutes[name])]
    lines += [
        "",
        f"CPU minutes from {ends[0]} to {ends[-1]}: the nearer to each other, the more alike the machine was to all.",
        "",
        "| contender | strides of the first stage, patch, channels | parameters | steps | minutes | CPU minutes "
        "| inference | Dice | by seed | search minus it | regret |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, own in sorted(report["contenders"].items(), key=lambda item: -item[1]["mean_dice"]):
        rows = found[name]
        mean = {key: np.mean([row[key] for row in rows]) for key in ("parameters", "steps", "minutes", "cpu_minutes")}
        windows = sum(row["windows"] for row in rows)
        way = {0: "one shot", len(rows): "windows"}.get(windows, f"windows in {windows} of {len(rows)}")
        ahead = {"mean": own["search_minus_it"], "standard_error": own["standard_error_of_that"]}
        by_seed = ", ".join(f"{value:.4f}" for value in own["of_seeds"]) if len(rows) > 1 else ""
        lines.append(
            f"| {_title(name)} | {'; '.join(dict.fromkeys(_network(row['plan']) for row in rows))} | "
            f"{mean['parameters'] / 1e6:.2f} M | {mean['steps']:.0f} | {mean['minutes']:.1f} | "
            f"{mean['cpu_minutes']:.1f} | {way} | {own['mean_dice']:.4f} +- {own['standard_error']:.4f} | {by_seed} | "
            f"{'' if name == 'search' else _signed(ahead)} | {_signed(of[name]) if name in of else ''} |"
        )
    return "\n".join(lines)


def _signed(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:+.4f} +- {figure['standard_error']:.4f}"


def _forecast_lines(report: Mapping[str, Any]) -> list[str]:
    of = report["curves"]
    lines = [
        f"The race's forecasts over the grid (slope {of['slope']:.2f} +- {of['own_sd']:.2f} between plans, noise "
        f"{of['noise']:.3f}), the best plan by its Dice at the end being {_title(report['forecasts'][0]['best'])}:",
        "",
        "| share of the training | Kendall's tau with the Dice | best forecast, and its Dice below the best | "
        "deviations between it and the best plan | all pairs at the end, from their forecasts |",
        "|---|---|---|---|---|",
    ]
    for row in report["forecasts"]:
        lines.append(
            f"| {row['share']:.0%} | {row['tau']:.2f} | {_title(row['chosen'])}, {row['lost']:.4f} | "
            f"{row['deviations']:.1f} standard deviations | {row['surprise']:.1f} standard deviations |"
        )
    return lines


def _title(name: str) -> str:
    if name in PEERS:
        return PEERS[name].title
    return {**SEARCHES, **TITLES}.get(name, name.replace("_", " "))


def _network(plan: Mapping[str, Any]) -> str:
    stem, patch = ("x".join(map(str, sizes)) for sizes in (plan["strides"][0], plan["patch"]))
    return ", ".join([stem, patch, *([] if plan["channels"] is None else ["-".join(map(str, plan["channels"]))])])


def make_commands(
    given: argparse.Namespace, rest: Sequence[str], cells: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[list[str]]]:
    """The commands of each contender, one or one for each seed, all on the first seed's split."""
    split = ["--fold", str(given.fold), "--split_seed", str(given.seeds[0])]
    common: dict[str, Any] = {"dataset_dir": given.dataset_dir, "minutes": given.minutes}
    commands: dict[str, list[list[str]]] = {}
    for name in ("search", *(["random"] if given.random else [])):
        extra = [*split, "--strategy", "random" if name == "random" else "reinforce", *rest]
        folder = given.output_dir / name
        commands[name] = [
            command("search", folder / f"seed_{seed}", seed=seed, extra=extra, **common) for seed in given.seeds
        ]
    once = {name: (name, []) for name in (*TITLES, *given.peers)}
    once |= {
        name: ("grid", ["--curve", *(str(word) for key, value in cell.items() for word in (f"--{key}", value))])
        for name, cell in cells.items()
    }
    for name, (contender, options) in once.items():
        extra = [*options, *split, *rest]
        folder = given.output_dir / name
        commands[name] = [command(contender, folder, seed=given.seeds[0], extra=extra, **common)]
    return commands


def open_study(given: argparse.Namespace, rest: Sequence[str]) -> tuple[Study, dict[str, str]]:
    """The data as all contenders have them, and the group of each test case."""
    chosen = settings(list(rest))
    own = {"dataset_dir": given.dataset_dir, "output_dir": str(given.output_dir), "fold": given.fold}
    workflow = ConfigWorkflow(str(SEARCH), **{**chosen, **own, "split_seed": given.seeds[0]})
    study = workflow.parser.get_parsed_content("study")
    return study, group_cases(study.split.test, workflow.parser.get_parsed_content("settings").group)


def main() -> None:
    """Run what is missing, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the searches; the first splits")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--widths", type=float, nargs="+", default=WIDTHS, help="of the grid, factors of the channels")
    parser.add_argument("--areas", type=float, nargs="+", default=AREAS, help="of the grid's patches")
    parser.add_argument("--random", action="store_true", help="with the control, for searches that have episodes")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(RIVALS))
    parser.add_argument("--together", type=int, help="how many run at a time, with one thread each")
    given, rest = parser.parse_known_args()
    rest = alike(rest)
    study, groups = open_study(given, rest)
    try:
        halves(groups)
    except ValueError as error:
        parser.error(str(error))
    cells = make_grid(study.fingerprint, widths=given.widths, areas=given.areas)
    commands = make_commands(given, rest, cells)
    run([words for several in commands.values() for words in several], at_once=given.together)
    found = {
        name: [read_result(Path(words[words.index("--output_dir") + 1])) for words in several]
        for name, several in commands.items()
    }
    report = summarize(found, list(cells), groups)
    text = table(report, found)
    print(text)
    (given.output_dir / "regret.md").write_text(text + "\n", encoding="utf-8")
    content = {**report, "results": found}
    (given.output_dir / "regret.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

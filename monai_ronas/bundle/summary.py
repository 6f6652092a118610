# SPDX-License-Identifier: Apache-2.0
"""What a search has found, in a few words: the table that ends it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import LEAST_STEPS, Architecture, RonasSpace
from monai_ronas.utils import ChildScore, SearchResult


def architecture_in_words(space: RonasSpace, architecture: Architecture) -> list[str]:
    """An architecture as a few short lines."""
    chosen = space.network_kwargs(architecture)
    skips = ", ".join(f"{j}->{i}" for i, j in chosen["skips"]) or "none"
    return [
        f"training patch {by_axis(space.patch(architecture))}",
        f"strides {', '.join(by_axis(s) for s in chosen['strides'])}",
        f"kernels {', '.join(by_axis(k) for k in chosen['kernel_sizes'])}",
        f"width {architecture.get('width', space.widths[0]):g} of the planned channels",
        f"dilations {', '.join(str(d) for d in chosen['dilations'])}",
        f"activation {chosen['act']}",
        f"skips (encoder stage -> decoder level) {skips}",
        *(f"{decision.name} {architecture[decision.name]}" for decision in space.extra),
    ]


def parameter_count(network: RonasSuperNet, architecture: Architecture) -> int:
    """Number of parameters of the derived network."""
    return sum(p.numel() for p in network.derive(architecture).parameters())


def summary_table(network: RonasSuperNet, result: SearchResult, *, seconds: float, where: dict[str, str]) -> str:
    """The table that ends a search."""
    words = architecture_in_words(network.space, result.architecture)
    rows = [("architecture", f"{result.architecture.id} ({origin_of(result)})"), *(("", word) for word in words)]
    rows += [
        *_dice_rows(result),
        ("parameters", f"{parameter_count(network, result.architecture):,}"),
        ("training", f"{result.steps} steps{few_steps(result.steps)}"),
        ("time", f"{seconds / 60:.1f} min"),
        *where.items(),
    ]
    width = max(len(name) for name, _ in rows)
    body = [f"{name:>{width}}  {text}" for name, text in rows]
    rule = "-" * max(len(line) for line in body)
    return "\n".join([rule, *body, rule])


def few_steps(steps: int) -> str:
    """What there is to say of a training that was too short for a network to be of use; else nothing."""
    if steps >= LEAST_STEPS:
        return ""
    more = "give the search more time, or without a time budget more final_epochs"
    return f", too few for a usable network ({LEAST_STEPS} at least): {more}"


def origin_of(result: SearchResult) -> str:
    """Which of the candidates a result is."""
    same = [c for c in result.candidates if c["id"] == result.architecture.id]
    same.sort(key=lambda c: c["reward"] is None)  # one that was scored, where others have become the same
    return same[0]["origin"] if same else "the chosen one with a smaller patch"


def _dice_rows(result: SearchResult) -> list[tuple[str, str]]:
    scores = [("test Dice", result.test, not_all_tested(result)), ("reward Dice", result.score, result.remark)]
    why = "the bundle's evaluate.json measures it" if result.test_cases else "there are no test cases"
    untested = result.test is None and (bool(result.remark) or result.score is None)
    rows = [("test Dice", f"not measured: {why}")] if untested else []
    return rows + [
        (
            name,
            (
                f"{score.reward:.4f} +- {score.standard_error:.4f} (standard error, {cases_in_words(score)})"
                if math.isfinite(score.standard_error)
                else f"{score.reward:.4f} ({cases_in_words(score)})"
            )
            + (f", {remark}" if remark else ""),
        )
        for name, score, remark in scores
        if score is not None
    ]


def not_all_tested(result: SearchResult) -> str:
    """A sentence where the time allowed a part of the test cases only; else nothing."""
    scored = len(result.test_names)
    if result.test is None or scored >= result.test_cases:
        return ""
    return f"Dice on {scored} of the {result.test_cases} test cases, the time did not allow more"


def cases_in_words(score: ChildScore) -> str:
    """The number of cases that a score is the mean of."""
    empty = sum(math.isnan(value) for value in score.per_case)
    without = f", {empty} more without foreground" if empty else ""
    number = len(score.per_case) - empty
    return f"{number} case{'' if number == 1 else 's'}{without}"


def error_in_words(score: ChildScore) -> str:
    """The standard error of a score; one case has none."""
    return f", standard error {score.standard_error:.4f}" if math.isfinite(score.standard_error) else ""


def by_axis(values: Sequence[int | str], sign: str = "x") -> str:
    """Values with a sign between them, such as the sizes of the axes."""
    return sign.join(str(v) for v in values)

# SPDX-License-Identifier: Apache-2.0
"""What labels bring by the number of them: figures of all arms, and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tests.benchmarks.runs import mean_and_error
from tests.benchmarks.study_scores import SCORES

Row = dict[str, Any]


def labels_needed(labels: Sequence[int], dice: Sequence[float], wanted: float) -> float | None:
    """The labels at which a curve first has a Dice, on straight lines between its points; None where it never has.

    Example:
        >>> labels_needed([4, 8, 12], [0.5, 0.75, 0.8], 0.625)
        6.0
    """
    for n, value in enumerate(dice):
        if value >= wanted:
            if n == 0:
                return float(labels[0])
            share = (wanted - dice[n - 1]) / (value - dice[n - 1])
            return float(labels[n - 1] + share * (labels[n] - labels[n - 1]))
    return None


def summarize(curves: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[int]) -> dict[str, Any]:
    """Figures of all arms.

    Args:
        curves: of each arm, ``random`` among them, for each seed the mean Dice at each number of labels.
        labels: these numbers, that of the start first.

    Returns:
        for each arm its mean ``dice`` and the labels ``needed`` for the last mean Dice of ``random``; for all but this
        ``ahead`` after each round and ``ahead_on_average`` over them: mean, standard error and the seeds' values.
    """
    chance = np.asarray(curves["random"])
    found: dict[str, Any] = {}
    for arm, values in curves.items():
        mean = np.mean(values, axis=0).tolist()
        found[arm] = {"dice": mean, "needed": labels_needed(labels, mean, float(chance.mean(axis=0)[-1]))}
        if arm != "random":
            ahead = (np.asarray(values) - chance)[:, 1:]
            parts = {"ahead": ahead.T, "ahead_on_average": ahead.mean(axis=1)[None]}
            told = {key: [[*mean_and_error(row), row.tolist()] for row in rows] for key, rows in parts.items()}
            found[arm] |= {"ahead": told["ahead"], "ahead_on_average": told["ahead_on_average"][0]}
    return found


def correlations(pools: Sequence[Mapping[str, Row]]) -> dict[str, dict[str, float]]:
    """Spearman's correlation of each score with what is known of the cases of a pool, mean over the pools."""
    found: dict[str, dict[str, float]] = {}
    for score in SCORES:
        found[score] = {}
        for other in ("dice", "foreground", "voxels"):
            pairs = [np.array([[row[score], row[other]] for row in rows.values()]) for rows in pools]
            values = [spearmanr(*pair.T, nan_policy="omit").statistic for pair in pairs]
            found[score][other] = float(np.mean(values))
    return found


def table(report: Mapping[str, Any]) -> str:
    """The report as tables in Markdown."""

    def told(mean: float, error: float, seeds: Sequence[float]) -> str:
        return f"{mean:+.4f} +- {error:.4f} ({', '.join(f'{value:+.4f}' for value in seeds)})"

    arms, labels = report["arms"], report["labels"]
    scores = [arm for arm in arms if arm != "random"]
    lines = [
        "| labels | " + " | ".join([*arms, *(f"{arm} minus random (by seed)" for arm in scores)]) + " |",
        "|---" * (1 + len(arms) + len(scores)) + "|",
    ]
    for n, number in enumerate(labels):
        ahead = [told(*arms[arm]["ahead"][n - 1]) if n else "" for arm in scores]
        lines.append("| " + " | ".join([str(number), *(f"{a['dice'][n]:.4f}" for a in arms.values()), *ahead]) + " |")
    blank = [""] * len(arms)
    lines.append(
        "| " + " | ".join(["rounds", *blank, *(told(*arms[arm]["ahead_on_average"]) for arm in scores)]) + " |"
    )
    needed = ["never" if arm["needed"] is None else f"{arm['needed']:.1f}" for arm in arms.values()]
    lines.append("| " + " | ".join(["labels for random's last Dice", *needed, *([""] * len(scores))]) + " |")
    lines += ["", "| score, against | Dice | foreground | volume |", "|---|---|---|---|"]
    for score, values in report["correlations"].items():
        lines.append(f"| {score} | " + " | ".join(f"{value:+.2f}" for value in values.values()) + " |")
    return "\n".join(lines)

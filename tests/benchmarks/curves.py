# SPDX-License-Identifier: Apache-2.0
"""Learning curves of networks that train alone, and what a race would have made of them.

A network is scored as in a race, with averaged weights and in windows of its patch, at a few shares of its training.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from monai_ronas.engines.averaged_weights import AveragedWeights
from monai_ronas.engines.contender import errors_of
from monai_ronas.engines.forecast import Curve, Prior, common_slope, forecast, lead
from monai_ronas.engines.scorer import ChildScorer

SHARES = (0.02, 0.04, 0.08, 0.16, 0.32)
CASES = 6
_OVERLAP = 0.25


class LearningCurve:
    """Scores a network on reward cases while it trains.

    Args:
        scorer: of the reward cases.
        shares: of the training at which the network is scored.
        cases: reward cases on which it is scored.
    """

    def __init__(self, scorer: ChildScorer, *, shares: Sequence[float] = SHARES, cases: int = CASES) -> None:
        self.scorer = scorer
        self.shares = list(shares)
        self.paused = self.paused_cpu = 0.0
        self.curve = Curve()
        scorer.choose_some(cases)
        self.average = AveragedWeights(scorer.network)
        self.average.start()

    @property
    def is_over(self) -> bool:
        """Whether all scores are made: from then on the training may have the reward cases as well."""
        return len(self.curve.times) == len(self.shares)

    def update(self, progress: float) -> None:
        """Take note of a step, and score after it where its share has come. Its seconds are added to ``paused``."""
        self.average.update()
        if self.is_over or progress < self.shares[len(self.curve.times)]:
            return
        begin, begin_cpu = time.time(), time.process_time()
        with self.average.used(), self.scorer.in_windows(_OVERLAP), torch.random.fork_rng(devices=[]):
            self.curve.add(progress, errors_of(self.scorer.score(self.scorer.network.architecture)))
        self.scorer.network.train()
        if self.is_over:
            self.average.stop()
        self.paused += time.time() - begin
        self.paused_cpu += time.process_time() - begin_cpu

    def to_dict(self) -> dict[str, Any]:
        """Shares of the training and errors of each case."""
        return {"times": self.curve.times, "errors": [list(errors) for errors in self.curve.errors]}


def judge_forecasts(rows: Mapping[str, Mapping[str, Any]], prior: Prior | None = None) -> list[dict[str, Any]]:
    """How well the forecasts from the first part of the curves agree with the Dice at the end.

    Args:
        rows: results with ``mean_dice`` and ``curve``, by name.
        prior: of the forecasts.

    Returns:
        for each share: Kendall's tau between the forecast and the Dice, the contender with the best forecast
        (``chosen``), the Dice it is below the best contender's, by how many standard deviations the best one's
        forecast error is above that of the chosen one (``deviations``; a race drops it for good where this is large),
        and how many standard deviations the leads of all pairs at the end, in the logarithm of 1 - Dice, are from
        their forecasts, as a root mean square (``surprise``: 1 where forecasts know how much they do not know).
    """
    prior = prior or Prior()
    curves = {
        name: Curve(row["curve"]["times"], [tuple(e) for e in row["curve"]["errors"]]) for name, row in rows.items()
    }
    dice = {name: float(row["mean_dice"]) for name, row in rows.items()}
    best = max(dice, key=lambda name: dice[name])
    judged = []
    for number in range(1, min(len(curve.times) for curve in curves.values()) + 1):
        first = {name: curve.first(number) for name, curve in curves.items()}
        slope = common_slope(list(first.values()), prior)
        expected = {name: forecast(curve, 1.0, slope, prior)[0] for name, curve in first.items()}
        chosen = min(expected, key=lambda name: expected[name])
        behind = lead(first[best], first[chosen], (1.0, 1.0), slope, prior)
        names = sorted(dice)
        judged.append(
            {
                "share": float(np.mean([curve.times[-1] for curve in first.values()])),
                "slope": slope,
                "tau": float(kendalltau([-expected[n] for n in names], [dice[n] for n in names]).statistic),
                "chosen": chosen,
                "lost": dice[best] - dice[chosen],
                "best": best,
                "deviations": 0.0 if best == chosen else -behind.mean / behind.sd,
                "surprise": _surprise(first, dice, slope, prior),
            }
        )
    return judged


def _surprise(curves: Mapping[str, Curve], dice: Mapping[str, float], slope: float, prior: Prior) -> float:
    found = []
    for one, other in itertools.combinations(curves, 2):
        expected = lead(curves[one], curves[other], (1.0, 1.0), slope, replace(prior, lead=0.0))
        found.append((math.log((1 - dice[other]) / (1 - dice[one])) - expected.mean) / expected.sd)
    return float(np.sqrt(np.mean(np.square(found))))


def fit_prior(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The figures of a :class:`~monai_ronas.engines.forecast.Prior` as curves of one data set have them.

    Args:
        rows: results with ``curve``, by name.

    Returns:
        ``slope``, its spread between contenders ``own_sd``, and the ``noise`` around their lines; spread and noise of
        curves of fewer than three scores are NaN.
    """
    slopes, residuals = [], []
    for row in rows.values():
        curve = _curve(row)
        if len(curve.times) < 3:
            continue
        x, y = np.log(curve.times), curve.logarithms
        slope, offset = np.polyfit(x, y, 1)
        slopes.append(-slope)
        residuals.append(float(((y - slope * x - offset) ** 2).sum()) / (len(x) - 2))
    if not slopes:
        return {"slope": math.nan, "own_sd": math.nan, "noise": math.nan}
    spread = float(np.std(slopes, ddof=1)) if len(slopes) > 1 else math.nan
    return {"slope": float(np.mean(slopes)), "own_sd": spread, "noise": float(np.sqrt(np.mean(residuals)))}


def _curve(row: Mapping[str, Any]) -> Curve:
    return Curve(row["curve"]["times"], [tuple(errors) for errors in row["curve"]["errors"]])

# SPDX-License-Identifier: Apache-2.0
"""Rewards of an episode without what their places in it explain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def detrend(values: Sequence[float]) -> np.ndarray:
    """Residuals of the least-squares line over the positions.

    Children that come later in an episode run on weights that have been trained for longer; the line takes that away.
    :func:`scipy.signal.detrend` does the same where no value is missing.

    Args:
        values: ``(N,)``; what is not finite is left out of the line.

    Returns:
        ``(N,)``; NaN where the value is not finite. Up to two values lie on their line: 0.

    Example:
        >>> detrend([0.0, 1.0, float("nan"), 3.0, 7.0]).round(2).tolist()
        [0.45, -0.15, nan, -1.35, 1.05]
    """
    given = np.asarray(values, dtype=float)
    places = np.flatnonzero(np.isfinite(given))
    residuals = np.full(len(given), np.nan)
    residuals[places] = 0.0
    if len(places) > 2:
        line = np.polynomial.Polynomial.fit(places, given[places], deg=1)
        residuals[places] = given[places] - line(places)
    return residuals


def above_trend(history: Sequence[Mapping[str, Any]]) -> list[tuple[float, Mapping[str, Any]]]:
    """Reward above the trend of its episode, and line, of every scored child of a ``history.jsonl``.

    Rewards of different episodes come from different weights and cases, those of an episode from a training that goes
    on; what counts is the distance to the episode's line.

    Args:
        history: the lines, by episode and child.
    """
    episodes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in history:
        episodes[line["episode"]].append(line)
    found = []
    for lines in episodes.values():
        above = detrend([np.nan if line["reward"] is None else line["reward"] for line in lines])
        found += [(float(a), line) for a, line in zip(above, lines, strict=True) if line["reward"] is not None]
    return found

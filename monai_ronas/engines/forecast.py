# SPDX-License-Identifier: Apache-2.0
"""What learning curves say of the end of a training, and whether more of one is worth its time.

Everything is in logarithms of errors: an error falls with a power of the time, so that its logarithm is a straight line
over that of the time, and a contender that is better by 0.1 has an error that is 10 % smaller, whatever the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

_LEAST_ERROR = 1e-6


@dataclass(frozen=True)
class Prior:
    """What is expected of learning curves before any is seen.

    The defaults of ``own_sd`` and ``noise`` are rounded from curves of fixed plans on two data sets, hearts and
    hippocampi (``bundles/ronas/docs/experiments.md``, "What early leads say of the end"): with smaller ones forecasts
    were several standard deviations from what came.

    Args:
        slope: by how much the logarithm of an error falls for each unit of that of the time.
        slope_sd: standard deviation of the slope between data sets.
        own_sd: standard deviation of the slope between contenders on the same data.
        noise: standard deviation of the logarithm of a measured error around its line.
        lead: by how much the logarithm of a contender's error at the end is expected to be below that of the
            leader.
        lead_sd: its standard deviation between contenders.
    """

    slope: float = 0.4
    slope_sd: float = 0.2
    own_sd: float = 0.3
    noise: float = 0.3
    lead: float = -0.1
    lead_sd: float = 0.2


@dataclass
class Curve:
    """Errors of a contender on the same cases at several times of its training.

    Args:
        times: of training at each measurement, in seconds or steps.
        errors: ``(measurements, cases)``, such as 1 - soft Dice; NaN for a case that has none.
    """

    times: list[float] = field(default_factory=list)
    errors: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, time: float, errors: Sequence[float]) -> None:
        """Add a measurement."""
        self.times.append(float(time))
        self.errors.append(tuple(float(e) for e in errors))

    def first(self, number: int) -> Curve:
        """The first measurements."""
        return Curve(self.times[:number], self.errors[:number])

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean error of each measurement."""
        return np.nanmean(np.array(self.errors), axis=1)

    @property
    def logarithms(self) -> NDArray[np.float64]:
        """Logarithm of the mean error of each measurement."""
        return np.log(np.maximum(self.means, _LEAST_ERROR))


@dataclass(frozen=True)
class Lead:
    """By how much the logarithm of an error at the end is below another one's.

    Args:
        mean: expected.
        sd: standard deviation.
    """

    mean: float
    sd: float

    def with_prior(self, prior: Prior) -> Lead:
        """Drawn to the prior by what is not known."""
        before, now = 1 / prior.lead_sd**2, 1 / max(self.sd, 1e-9) ** 2
        return Lead((before * prior.lead + now * self.mean) / (before + now), (before + now) ** -0.5)


def common_slope(curves: Sequence[Curve], prior: Prior) -> float:
    """The slope of the data: that of all curves, drawn to the prior's by what is not known of it.

    Example:
        >>> curve = Curve([10.0, 1000.0], [(0.5,), (0.5 * 100**-0.3,)])
        >>> round(common_slope([], Prior(slope=0.4)), 3), round(common_slope([curve], Prior(slope=0.4)), 3)
        (0.4, 0.371)
    """
    weight, total = 1 / prior.slope_sd**2, prior.slope / prior.slope_sd**2
    for curve in curves:
        x = np.log(curve.times) - np.log(curve.times).mean() if curve.times else np.zeros(0)
        spread = float((x**2).sum())
        if spread > 0:
            known = 1 / (prior.noise**2 / spread + prior.own_sd**2)
            weight, total = weight + known, total - known * float((x * curve.logarithms).sum()) / spread
    return total / weight


def forecast(curve: Curve, end: float, slope: float, prior: Prior) -> tuple[float, float]:
    """Logarithm of the error that a curve has at the end, and its standard deviation.

    The line is fitted by least squares with a normal prior of its slope.

    Args:
        curve: at least one measurement.
        end: time of training at the end.
        slope: of the data, see :func:`common_slope`.
        prior: noise and spread.
    """
    end = max(end, curve.times[-1])  # no earlier than what was measured
    x = np.log(np.array(curve.times) / end)  # 0 at the end, so that the offset of the line is the forecast
    y = curve.logarithms
    precision = np.array([[len(x), -x.sum()], [-x.sum(), (x**2).sum()]]) / prior.noise**2
    right = np.array([y.sum(), -(x * y).sum()]) / prior.noise**2
    precision[1, 1] += 1 / prior.own_sd**2
    right[1] += slope / prior.own_sd**2
    covariance = np.linalg.inv(precision)
    return float((covariance @ right)[0]), math.sqrt(covariance[0, 0])


def lead(challenger: Curve, leader: Curve, ends: tuple[float, float], slope: float, prior: Prior) -> Lead:
    """Lead of a challenger over the leader at the end of each one's training.

    Both are taken up to the last time at which both were measured: what disturbs both alike then disturbs neither.

    Args:
        challenger: errors on the same cases at the same times as
        leader: may have further measurements.
        ends: time of training at the end, the challenger's and the leader's.
        slope: of the data.
        prior: noise, spread, and what is expected without a measurement.
    """
    if 0 < ends[0] < ends[1]:  # the leader has been trained, and keeps that
        prior = replace(prior, lead=prior.lead - slope * math.log(ends[1] / ends[0]))
    number = min(len(challenger.times), len(leader.times))
    if number == 0:
        return Lead(prior.lead, prior.lead_sd)
    own, other = challenger.first(number), leader.first(number)
    (low, low_sd), (high, high_sd) = (forecast(c, e, slope, prior) for c, e in zip((own, other), ends, strict=True))
    return Lead(high - low, math.sqrt(low_sd**2 + high_sd**2 + between_cases(own, other) ** 2)).with_prior(prior)


def lead_in_terms_of(ratio: float, found: Lead, error: float) -> Lead:
    """A lead where not the Dice counts but the Dice times a factor.

    It is the lead of an error that the challenger would have if its Dice were larger by the ratio of the factors. Where
    that is below a tenth of the leader's error, or even negative, the logarithm goes on along its tangent.

    Args:
        ratio: the challenger's factor by the leader's.
        found: lead of the challenger's error.
        error: the leader's at the end.

    Example:
        >>> dearer, cheaper = (lead_in_terms_of(ratio, Lead(-0.1, 0.2), error=0.2).mean for ratio in (1.0, 1.05))
        >>> round(dearer, 3), round(cheaper, 3)
        (-0.1, 0.094)
    """
    weighted = 1 - (1 - min(error * math.exp(-found.mean), 1.0)) * ratio
    least = error / 10
    mean = math.log(error / weighted) if weighted > least else math.log(10) + 1 - weighted / least
    return Lead(mean, found.sd)


def between_cases(challenger: Curve, leader: Curve) -> float:
    """Standard error of the difference of the last logarithms, from the differences of the cases."""
    pair = np.array([challenger.errors[-1], leader.errors[-1]])
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    if pair.shape[1] < 2:
        return 1.0  # one case tells nothing of the others
    return float((pair[0] - pair[1]).std(ddof=1) / math.sqrt(pair.shape[1]) / max(pair.mean(), _LEAST_ERROR))


def value_of_turn(now: Lead, after: float) -> float:
    """What is gained on average where a challenger's lead becomes known better, as the better one is then taken.

    It is the knowledge gradient of Frazier et al. (SIAM Journal on Control and Optimization 47, 2008).

    Args:
        now: lead of the challenger.
        after: standard deviation of its lead after the turn.

    Example:
        >>> round(value_of_turn(Lead(0.0, 0.2), after=0.0), 4), value_of_turn(Lead(0.0, 0.2), after=0.2)
        (0.0798, 0.0)
    """
    change = math.sqrt(max(now.sd**2 - after**2, 0.0))
    if change == 0:
        return 0.0
    z = -abs(now.mean) / change
    return float(change * (norm.pdf(z) + z * norm.cdf(z)))


def sd_after(
    challenger: Curve, leader: Curve, times: Sequence[float], ends: tuple[float, float], slope: float, prior: Prior
) -> float:
    """Standard deviation that the lead will have when both have been measured at ``times``, the last of them new."""
    imagined = Curve(list(times), [(1.0,)] * len(times))
    variance = sum(forecast(imagined, end, slope, prior)[1] ** 2 for end in ends)
    known = min(len(challenger.times), len(leader.times))
    if known:
        variance += between_cases(challenger.first(known), leader.first(known)) ** 2
    return Lead(0.0, math.sqrt(variance)).with_prior(prior).sd


def cost_of_turn(slope: float, time: float, left: float) -> float:
    """By how much the leader's error at the end rises where a turn takes its time.

    Args:
        slope: of the data.
        time: of the turn, its score included.
        left: time of training that the leader would have at the end without the turn, what it had included.
    """
    return -slope * math.log(1 - min(time / max(left, 1e-9), 0.999))

# SPDX-License-Identifier: Apache-2.0
"""What scoring a child and a whole search give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_ronas.space import Architecture

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ChildScore:
    """What scoring a child gave.

    Args:
        reward: mean over cases of the mean foreground Dice; NaN when the status is not ``"ok"``.
        per_case: that Dice for each case; NaN for a case without foreground.
        seconds: time the scoring took.
        peak_memory_mb: peak memory in MB.
        status: ``"ok"``, ``"failed"`` for a score that is not finite, ``"oom"`` where the memory did not suffice.
        soft: soft Dice for each case, which is smoother in the weights; empty where it was not measured.
        per_class: for each case the Dice of each foreground class, NaN for a class that the case does not have; empty
            where it is not known.
    """

    reward: float
    per_case: tuple[float, ...]
    seconds: float
    peak_memory_mb: float
    status: str = "ok"
    soft: tuple[float, ...] = ()
    per_class: tuple[tuple[float, ...], ...] = ()

    @property
    def standard_error(self) -> float:
        """Standard error of the mean Dice over the cases."""
        values = np.asarray(self.per_case)
        values = values[np.isfinite(values)]
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class InferenceChoice:
    """How the derived network segments a volume: in one shot or in windows.

    Args:
        windows: in windows of the training patch, else in one shot as far as the memory reaches.
        reason: one sentence for people.
        cases: names of the cases that both ways were measured on.
        one_shot: Dice of each of them in one shot.
        in_windows: Dice of each of them in windows.
        seconds: time that a case took in the chosen way; NaN without a measurement.
    """

    windows: bool
    reason: str
    cases: tuple[str, ...] = ()
    one_shot: tuple[float, ...] = ()
    in_windows: tuple[float, ...] = ()
    seconds: float = float("nan")


@dataclass(frozen=True)
class TemperatureFit:
    """The temperature of the derived network's probabilities.

    Args:
        temperature: what their logarithms are divided by; above 1 for a network that is too sure.
        cases: number of reward cases that it was fitted on.
        error_before: expected calibration error on them without it.
        error_after: with it.
        seen: the final training has had these cases, so that the network is surer of them than of others.
    """

    temperature: float
    cases: int
    error_before: float
    error_after: float
    seen: bool = False


@dataclass(frozen=True)
class Reliability:
    """How often voxels are right, by how sure the network is of them.

    Args:
        count: voxels in each of equal bins of the largest probability.
        sure: mean of that probability in each, NaN where there is none.
        right: part of them whose most likely class is that of the label, likewise.
        brier: mean over voxels of the summed squares of probability minus truth, from 0 to 2.
    """

    count: tuple[int, ...]
    sure: tuple[float, ...]
    right: tuple[float, ...]
    brier: float

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean over voxels of the distance between sure and right of their bin."""
        count = np.asarray(self.count)
        gaps = np.abs(np.asarray(self.sure) - np.asarray(self.right))
        return float((count * np.nan_to_num(gaps)).sum() / max(count.sum(), 1))


@dataclass
class SearchResult:
    """What a search found.

    Args:
        architecture: the chosen architecture; the supernet holds its trained weights and has it selected.
        score: its score on reward cases; None where it was not measured.
        candidates: one dictionary for each contender: ``origin``, ``architecture``, ``id``, ``trained`` (seconds, or
            steps without a limit of time, in the race), ``reward`` (its Dice on the reward cases after that) and
            ``forecast`` (soft Dice expected with all the time that was left); None where it had no turn. Those of a
            race have ``curve``: pairs of ``trained`` and ``reward`` after each turn.
        steps: training steps of the network's weights.
        case_names: names of the reward cases, in the order of ``score.per_case``.
        remark: what has to be known about ``score``, such as that training has seen the reward cases.
        test: the network's score on the test cases, or on those that the time allowed; None without any.
        test_names: names of the cases of ``test``, in the order of its ``per_case``.
        test_cases: number of all test cases.
        inference: one shot or windows, as measured; None where it was not.
        members: weights that the network had on its way through the final training, the members of an ensemble.
        temperature: of the ensemble's probabilities; None where it was not fitted.
        reliability: of the network alone on the cases of ``test``, without and with the temperature; None where that
            was not measured.
    """

    architecture: Architecture
    score: ChildScore | None
    candidates: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    case_names: tuple[str, ...] = ()
    remark: str = ""
    test: ChildScore | None = None
    test_names: tuple[str, ...] = ()
    test_cases: int = 0
    inference: InferenceChoice | None = None
    members: tuple[Mapping[str, Tensor], ...] = ()
    temperature: TemperatureFit | None = None
    reliability: tuple[Reliability, Reliability] | None = None

# SPDX-License-Identifier: Apache-2.0
"""One shot or windows for the derived network, by measurement."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import cast

import numpy as np
from torch.utils.data import DataLoader

from monai_ronas.engines.scorer import ChildScorer
from monai_ronas.errors import SettingError
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.space import Architecture
from monai_ronas.utils import ChildScore, InferenceChoice

logger = logging.getLogger(__name__)
_LEAST = 2


class InferenceMode:
    """Score the trained network on a few reward cases in one shot and in windows of its training patch, and choose.

    A network trained on crops may lose Dice on whole volumes: borders and the statistics of an instance normalisation
    are others there. Half-overlapping windows take longer and are nearly always ahead (``bundles/ronas/docs``,
    "One shot or windows"). So they are chosen where nothing is measured, and where the mean of the paired differences
    is not more than ``least_lead`` in favour of one shot. A volume that the patch holds is one window in any case.

    It is meant for the weights after the final training, since what is asked is how these are best used. That training
    may have seen the reward cases: their Dice is then no estimate of that on other cases. The difference of two ways to
    use the same weights on the same case is still the fairest there is, as the test cases must not choose.

    Cases that the patch holds on every axis are left out, as both ways are the same for them, and so are those that
    exceed the limit for one shot, ``max_voxels`` of the scorer's inferer. The others are taken evenly spread over the
    reward cases: at least two, at most ``cases``, as many as ``seconds`` allows. Where it does not allow two, or there
    are not two, nothing is compared.

    Args:
        scorer: scores the network on reward cases; its evaluator has a
            :class:`~monai_ronas.networks.PadToStrideInferer`, which is left in the chosen mode.
        seconds: time that the comparison may take. Default: no limit.
        tester: scores the network on the test cases; its inferer gets the chosen mode as well.
        cases: how many cases at most.
        least_lead: one shot is chosen where its Dice is ahead by more.

    Raises:
        SettingError: when ``cases`` is less than two.
    """

    def __init__(
        self,
        scorer: ChildScorer,
        *,
        seconds: float | None = None,
        tester: ChildScorer | None = None,
        cases: int = 4,
        least_lead: float = 0.005,
    ) -> None:
        if cases < _LEAST:
            raise SettingError(f"cases must be at least {_LEAST}, received {cases}.")
        self.scorer = scorer
        self.seconds = math.inf if seconds is None else seconds
        self.tester = tester
        self.cases = cases
        self.least_lead = least_lead

    def estimated_seconds(self, architecture: Architecture, seconds: float) -> float:
        """Seconds to keep for the comparison, or for the one score that shows that there is no time for it.

        Args:
            architecture: the network to be compared.
            seconds: of a case in one shot.
        """
        self.scorer.select(architecture)
        first = self._open(architecture)[: self.cases]
        if len(first) < _LEAST:
            return 0.0
        pair = (1 + max(self._factor(architecture, index) for index in first)) * seconds
        return seconds if _LEAST * pair > self.seconds else min(len(first) * pair, self.seconds)

    def is_open(self, architecture: Architecture) -> bool:
        """Whether there are cases that tell: larger than the patch, and not larger than one shot allows."""
        self.scorer.select(architecture)
        return len(self._open(architecture)) >= _LEAST

    def __call__(self, architecture: Architecture) -> InferenceChoice:
        """Compare with the network's present weights, and leave the inferers in the chosen mode."""
        sampler = self.scorer.sampler
        indices = sampler.indices
        self.scorer.select(architecture)
        try:
            choice = self._compare(architecture)
        finally:
            sampler.indices = indices
        if choice.windows:
            for scorer in (self.scorer, self.tester):
                if scorer is not None:
                    _inferer(scorer).max_voxels = 0
        logger.info("inference: %s", choice.reason)
        return choice

    def _compare(self, architecture: Architecture) -> InferenceChoice:
        names = self.scorer.case_names
        pairs: dict[str, tuple[ChildScore, ChildScore]] = {}
        indices, spent, tried = self._open(architecture), 0.0, 0
        too_large = len(indices) < len(self._larger(architecture))
        for index in indices if len(indices) >= _LEAST else ():
            if len(pairs) == self.cases or (tried >= _LEAST and spent * (tried + 1) / tried > self.seconds):
                break
            if not self._fits(architecture, index):  # any more
                continue
            whole, held = self._one_shot(architecture, index)
            if not held:
                too_large = True
                spent, tried = spent + whole.seconds, tried + 1
                continue
            factor = self._factor(architecture, index)
            if not pairs and _LEAST * (1 + factor) * whole.seconds > self.seconds:
                why = "Windows, unmeasured: there is no time to compare them with one shot."
                return InferenceChoice(True, why, seconds=factor * whole.seconds)
            windows = self._windows(architecture, index)
            spent, tried = spent + whole.seconds + windows.seconds, tried + 1
            if whole.status == windows.status == "ok":
                pairs[names[index]] = (whole, windows)
        if len(pairs) >= _LEAST:
            return self._choice(pairs)
        if too_large:
            return InferenceChoice(True, "Windows, unmeasured: one shot does not fit the memory.")
        if not indices:
            return InferenceChoice(False, "One shot: the training patch holds all reward cases, as windows would.")
        measured = f"{len(pairs)} of the {tried} reward cases that were tried has a score"
        only = "one reward case is larger than the training patch" if len(indices) == 1 else measured
        return InferenceChoice(True, f"Windows, unmeasured: only {only}, which does not tell.")

    def _order(self) -> list[int]:
        """The reward cases, evenly spread ones first."""
        number = len(self.scorer.case_names)
        first = [int(i) for i in np.linspace(0, number - 1, min(self.cases, number)).round()]
        return first + [i for i in range(number) if i not in first]

    def _larger(self, architecture: Architecture) -> list[int]:
        """The cases that the patch does not hold."""
        return [index for index in self._order() if self._factor(architecture, index) > 1]

    def _open(self, architecture: Architecture) -> list[int]:
        """Those of them that one shot allows."""
        return [index for index in self._larger(architecture) if self._fits(architecture, index)]

    def _fits(self, architecture: Architecture, index: int) -> bool:
        limit = _inferer(self.scorer).max_voxels
        return limit is None or math.prod(map(max, *self._sizes(architecture, index))) <= limit

    def _sizes(self, architecture: Architecture, index: int) -> tuple[Sequence[int], Sequence[int]]:
        """Spatial size of a case, and the training patch."""
        loader = cast(DataLoader, self.scorer.evaluator.data_loader)
        return loader.dataset[index]["image"].shape[1:], self.scorer.network.space.patch(architecture)

    def _factor(self, architecture: Architecture, index: int) -> float:
        """Voxels in the half-overlapping windows of a case by those of the case; 1 where the patch holds it."""
        sizes = list(zip(*self._sizes(architecture, index), strict=True))
        return math.prod((1 + math.ceil(max(s - p, 0) / (p // 2))) * p / max(s, p) for s, p in sizes)

    def _score(self, architecture: Architecture, index: int) -> ChildScore:
        self.scorer.sampler.indices = [index]
        return self.scorer.score(architecture)

    def _one_shot(self, architecture: Architecture, index: int) -> tuple[ChildScore, bool]:
        """The score of a case in one shot, and whether that fitted the memory."""
        limit = _inferer(self.scorer).max_voxels
        score = self._score(architecture, index)
        went_on_in_windows = _inferer(self.scorer).max_voxels != limit
        return score, not went_on_in_windows and score.status != "oom"

    def _windows(self, architecture: Architecture, index: int) -> ChildScore:
        inferer = _inferer(self.scorer)
        limit, inferer.max_voxels = inferer.max_voxels, 0
        try:
            return self._score(architecture, index)
        finally:
            inferer.max_voxels = limit

    def _choice(self, pairs: Mapping[str, tuple[ChildScore, ChildScore]]) -> InferenceChoice:
        one_shot, in_windows = (tuple(pair[k].reward for pair in pairs.values()) for k in (0, 1))
        seconds = [fmean(pair[k].seconds for pair in pairs.values()) for k in (0, 1)]
        chosen = fmean(one_shot) - fmean(in_windows) <= self.least_lead
        return InferenceChoice(
            windows=chosen,
            reason=(
                f"{'Windows' if chosen else 'One shot'}: mean Dice {fmean(one_shot):.4f} in one shot and "
                f"{fmean(in_windows):.4f} in windows of the training patch on {len(pairs)} reward cases. One "
                f"shot, {seconds[1] / max(seconds[0], 1e-9):.1f} times as fast, must be ahead by more than "
                f"{self.least_lead:g}."
            ),
            cases=tuple(pairs),
            one_shot=one_shot,
            in_windows=in_windows,
            seconds=seconds[chosen],
        )


def _inferer(scorer: ChildScorer) -> PadToStrideInferer:
    return cast(PadToStrideInferer, scorer.evaluator.inferer)

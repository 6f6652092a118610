# SPDX-License-Identifier: Apache-2.0
"""The scores of contenders in a race."""

from __future__ import annotations

import logging

import torch

from monai_ronas.engines.contender import Contender, errors_of
from monai_ronas.engines.contender_training import ContenderTraining
from monai_ronas.engines.scorer import ChildScorer
from monai_ronas.utils import ChildScore, TrainingError
from monai_ronas.utils.ranks import number_of_ranks

logger = logging.getLogger(__name__)
_LEAST_CASES, _OVERLAP = 4, 0.25


class ContenderScoring:
    """Score contenders with weights averaged over their last steps, on the same part of the reward cases.

    Each is scored in windows of its own patch, as one shot favours large patches.

    Args:
        training: has the contenders' weights.
        scorer: scores on the reward cases.
        share: under a time budget, as many cases are scored as take this part of the first turn, but at least four.
    """

    def __init__(self, training: ContenderTraining, scorer: ChildScorer, *, share: float) -> None:
        self.training = training
        self.scorer = scorer
        self.share = share

    def measure(self, contender: Contender, trained: float, *, of: int, first: bool) -> None:
        """Add a point to a contender's curve. One that has no score is out.

        Args:
            contender: which one.
            trained: seconds or steps of its training, with the turn that has ended.
            of: contenders that are scored after this turn.
            first: none has been scored before, so that the cases are still to be chosen.
        """
        self.training.enter(contender)
        try:
            with self.training.average.used():
                score = self._score(contender, trained, of=of, first=first)
        except TrainingError as error:
            status = str(error)
        else:
            if score.status == "ok":
                contender.scores.append(score)
                contender.curve.add(trained, errors_of(score))
                return
            status = score.status
        logger.warning("race: %s %s has no score: %s", contender.origin, contender.architecture.id, status)
        contender.failed = True

    def _score(self, contender: Contender, trained: float, *, of: int, first: bool) -> ChildScore:
        architecture = self.training.fitted(contender)
        with self.scorer.in_windows(_OVERLAP), torch.random.fork_rng(devices=[]):  # training goes on as without a score
            if first and self.training.budget.seconds is not None:
                self.training.slices.network.select(architecture)
                seconds = max(self.scorer.seconds_of_a_case(), 1e-9) * of / number_of_ranks()
                self.scorer.choose_some(max(int(self.share * trained / seconds), _LEAST_CASES))
            score = self.scorer.score(architecture)
            if first and score.status == "failed":  # none of the chosen cases has foreground
                self.scorer.sampler.choose_all()
                score = self.scorer.score(architecture)
            return score

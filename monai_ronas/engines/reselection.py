# SPDX-License-Identifier: Apache-2.0
"""Another choice from a finished search, for another budget; nothing is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_ronas.engines.inference_mode import InferenceMode
from monai_ronas.engines.scorer import ChildScorer, valid_score
from monai_ronas.errors import SettingError
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import ChildScore, SearchResult, above_trend

logger = logging.getLogger(__name__)
_WORTH = 0.5  # of the derived network's Dice
_WHY = {"oom": "the memory does not suffice", "failed": "it is not a number"}
_INSTEAD = "give more memory, or run the search with this budget"


class Reselection:
    """Choose again after a finished search, within a limit of memory.

    The derived network is what is chosen where it fits, with smaller windows where it must: it is the one that has been
    trained. Where it does not fit, the architectures of the episodes that do, at least with a smaller patch, are put in
    the order of their reward above the episode's trend. The first ones are scored on all reward cases with the weights
    that the search has left, and the best score, in the terms of the objective, wins. What has less than half of the
    derived network's Dice there has no weights worth having.

    Where that cannot be answered honestly, nothing is chosen: without episodes nothing but the derived network has been
    trained, and where the final training has seen the reward cases, their scores do not tell.

    Args:
        scorer: scores with the shared weights.
        space: the architectures.
        resources: costs and the limit.
        objective: what is maximised of a score, as in :class:`~monai_ronas.engines.ControllerTrainer`.
        number: how many architectures of the history are scored.
        seen: the final training had the reward cases as well.
        tester: scores the choice on the test cases.
        inference: chooses one shot or windows for the choice. Default: one shot as far as the memory reaches.
    """

    def __init__(
        self,
        scorer: ChildScorer,
        space: RonasSpace,
        resources: ResourceEstimator,
        *,
        objective: Callable[[ChildScore, Architecture], float] | None = None,
        number: int = 8,
        seen: bool = False,
        tester: ChildScorer | None = None,
        inference: InferenceMode | None = None,
    ) -> None:
        self.scorer = scorer
        self.space = space
        self.resources = resources
        self.objective = objective
        self.number = number
        self.seen = seen
        self.tester = tester
        self.inference = inference
        self.result: SearchResult | None = None

    def candidates(self, history: Sequence[Mapping[str, Any]]) -> dict[Architecture, str]:
        """Architectures of the episodes that fit, with their origin, at most :attr:`number`.

        Args:
            history: the lines of ``history.jsonl``.
        """
        fitting: dict[Architecture, str] = {}
        for _, line in sorted(above_trend(history), key=lambda pair: -pair[0]):
            small = self.fitted(Architecture(line["architecture"]))
            if small is not None and len(fitting) < self.number:
                fitting.setdefault(small, f"episode {line['episode']}, candidate {line['child']}")
        return fitting

    def fitted(self, architecture: Architecture) -> Architecture | None:
        """The architecture with the largest patch that it segments, as a window, within the memory."""
        for patched in self.space.with_every_patch(architecture):
            if self.space.is_feasible(patched) and self.resources.window_fits(patched):
                return patched
        return None

    def _honest_candidates(self, history: Sequence[Mapping[str, Any]]) -> dict[Architecture, str]:
        """Candidates that can be ranked.

        Raises:
            SettingError: when there are none.
        """
        too_large = f"the derived network does not fit into memory_budget_gb {self.resources.memory_gb:g}"
        if not history:
            raise SettingError(
                f"{too_large}, and the search had no episodes, so that no other has been trained: {_INSTEAD}."
            )
        if self.seen:
            raise SettingError(
                f"{too_large}, and the final training has seen the reward cases, so that they cannot tell which other "
                f"network to take: {_INSTEAD}, or search with --final_on_reward_cases false."
            )
        fitting = self.candidates(history)
        if not fitting:
            raise SettingError(f"{too_large}, and no other architecture of the history does: {_INSTEAD}.")
        return fitting

    def _worth(self, score: ChildScore, architecture: Architecture) -> float:
        return score.reward if self.objective is None else self.objective(score, architecture)

    def run(self, history: Sequence[Mapping[str, Any]], chosen: Architecture, *, steps: int) -> SearchResult:
        """Choose; the result is kept in :attr:`result` as well.

        Args:
            history: the lines of ``history.jsonl``.
            chosen: what the search has chosen.
            steps: training steps of the weights that the search has left.

        Raises:
            SettingError: when the search cannot tell which network to take, with what to do.
        """
        self.scorer.sampler.choose_all()
        small = self.fitted(chosen)
        if small is not None:
            origins = {small: "the search's choice"}
            scores = {small: self.scorer.score(small)}
            best = small
        else:
            origins = self._honest_candidates(history)
            derived = self.scorer.score(chosen)
            if derived.status != "ok":
                raise SettingError(
                    f"the network that the search derived has no score on the reward cases ({_WHY[derived.status]}), "
                    "so that nothing tells which other one has weights worth having: run export where there is more "
                    "memory, with --memory_budget_gb for the limit, or run the search with this budget."
                )
            least = _WORTH * derived.reward
            scores = {a: self.scorer.score(a) for a in origins}
            worthy = [a for a in scores if scores[a].status == "ok" and not scores[a].reward < least]
            if not worthy:
                raise SettingError(
                    "the search has left weights worth having only for the network that it derived, which does not fit "
                    f"into memory_budget_gb {self.resources.memory_gb:g}: {_INSTEAD}."
                )
            best = max(worthy, key=lambda a: self._worth(scores[a], a))
        logger.info("of %d architectures within the budget: %s %s", len(scores), origins[best], best.id)
        self.scorer.network.select(best)
        rows = [
            {
                "origin": origins[a],
                "architecture": a.to_dict(),
                "id": a.id,
                "reward": scores[a].reward if scores[a].status == "ok" else None,
                "trained": None,
                "forecast": None,
            }
            for a in scores
        ]
        if scores[best].status != "ok":
            logger.warning("the reward cases have no score: %s", scores[best].status)
        remark = "which the final training has seen" if self.seen else ""
        inference = None if self.inference is None else self.inference(best)
        if inference is not None and inference.windows and inference.one_shot:
            remark = f"{remark}, in one shot".removeprefix(", ")
        self.result = SearchResult(
            architecture=best,
            score=scores[best] if scores[best].status == "ok" else None,
            candidates=rows,
            steps=steps,
            case_names=self.scorer.case_names,
            remark=remark,
            test=valid_score(self.tester, best),
            test_names=() if self.tester is None else self.tester.case_names,
            test_cases=0 if self.tester is None else len(self.tester.case_names),
            inference=inference,
        )
        return self.result

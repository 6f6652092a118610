# SPDX-License-Identifier: Apache-2.0
"""Another choice from a finished search, for another budget; nothing is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_ronas.engines.scorer import ChildScorer, valid_score
from monai_ronas.errors import SettingError
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import ChildScore, SearchResult, above_trend

logger = logging.getLogger(__name__)


class Reselection:
    """Choose again among the architectures that a finished search has scored, within a limit of memory.

    Those that fit, at least with a smaller patch, are put in the order of their reward above the episode's trend. The
    first ones, the base network and the search's own choice are scored on all reward cases with the weights that the
    search has left. The best score wins. Where the final training had the reward cases as well, these scores are those
    of cases seen, which favours the search's own choice.

    Args:
        scorer: scores with the shared weights.
        space: the architectures.
        resources: costs and the limit.
        objective: what is maximised of a score, as in :class:`~monai_ronas.engines.ControllerTrainer`.
        number: how many architectures of the history are scored.
        seen: the final training had the reward cases as well.
        tester: scores the choice on the test cases.
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
    ) -> None:
        self.scorer = scorer
        self.space = space
        self.resources = resources
        self.objective = objective
        self.number = number
        self.seen = seen
        self.tester = tester
        self.result: SearchResult | None = None

    def candidates(self, history: Sequence[Mapping[str, Any]], chosen: Architecture) -> dict[Architecture, str]:
        """Architectures that fit, with their origin.

        Args:
            history: the lines of ``history.jsonl``.
            chosen: what the search has chosen.
        """
        scored = sorted(above_trend(history), key=lambda pair: -pair[0])
        fitting: dict[Architecture, str] = {}
        for origin, architecture in (("the search's choice", chosen), ("base network", self.space.base)):
            small = self.fitted(architecture)
            if small is not None:
                fitting.setdefault(small, origin)
        for _, line in scored:
            small = self.fitted(Architecture(line["architecture"]))
            if small is not None and len(fitting) < self.number + 2:
                fitting.setdefault(small, f"episode {line['episode']}, child {line['child']}")
        return fitting

    def fitted(self, architecture: Architecture) -> Architecture | None:
        """The architecture with the largest patch that it segments, as a window, within the memory."""
        for patched in self.space.with_every_patch(architecture):
            if self.space.is_feasible(patched) and self.resources.window_fits(patched):
                return patched
        return None

    def _worth(self, score: ChildScore, architecture: Architecture) -> float:
        if score.status != "ok":
            return float("-inf")
        return score.reward if self.objective is None else self.objective(score, architecture)

    def run(self, history: Sequence[Mapping[str, Any]], chosen: Architecture, *, steps: int) -> SearchResult:
        """Choose; the result is kept in :attr:`result` as well.

        Args:
            history: the lines of ``history.jsonl``.
            chosen: what the search has chosen.
            steps: training steps behind the weights that the search has left.

        Raises:
            SettingError: when nothing fits.
        """
        self.scorer.sampler.choose_all()
        origins = self.candidates(history, chosen)
        scores = {a: self.scorer.score(a) for a in origins}
        if not any(score.status == "ok" for score in scores.values()):
            raise SettingError(
                "no architecture of the history fits into memory_budget_gb and can be scored: give more."
            )
        best = max(scores, key=lambda a: self._worth(scores[a], a))
        logger.info("of %d architectures within the budget: %s %s", len(scores), origins[best], best.id)
        self.scorer.network.select(best)
        rows = [
            {
                "origin": origins[a],
                "architecture": a.to_dict(),
                "id": a.id,
                "reward": scores[a].reward,
                "trained": None,
                "forecast": None,
            }
            for a in scores
        ]
        self.result = SearchResult(
            architecture=best,
            score=scores[best],
            candidates=rows,
            steps=steps,
            case_names=self.scorer.case_names,
            remark="which the final training has seen" if self.seen else "",
            test=valid_score(self.tester, best),
        )
        return self.result

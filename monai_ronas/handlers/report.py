# SPDX-License-Identifier: Apache-2.0
"""The report, while a search runs and at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from monai_ronas.data import Study
from monai_ronas.handlers.case_planes import CasePlanes
from monai_ronas.handlers.history import read_history
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Plan
from monai_ronas.utils import Plane, SearchResult, TimeBudget
from monai_ronas.utils.collectives import dealt, gathered
from monai_ronas.utils.ranks import is_main
from monai_ronas.visualize import write_report
from monai_ronas.visualize.page import duration

logger = logging.getLogger(__name__)
_OVER = 1.05  # times the budget, from which on it is told


class SearchReport:
    """Write ``search_report.html`` when a part of the search after the warm-up begins, now and then, and at its end.

    While the search runs, its report takes little of the time: within a part no more than ``share`` of the time spent
    so far. A part that begins is shown at once, unless that would take more than half of ``share`` of the time budget.

    Args:
        output_dir: the folder of the search, with its ``history.jsonl``.
        network: the supernet.
        study: the data of the search.
        plan: the plan of the search.
        budget: tells what the time was spent on.
        test_planes: three planes of each test case, as scored last. Default: no segmentation of them is shown.
        reward_planes: those of the reward cases, which are shown where the test cases have no score.
        share: of the time, for reports while the search runs. 0: none but that of its end.

    Attributes:
        seconds: that the last report took to write; before the first one, a guess.
    """

    def __init__(
        self,
        output_dir: str | Path,
        *,
        network: RonasSuperNet,
        study: Study,
        plan: Plan,
        budget: TimeBudget,
        test_planes: CasePlanes | None = None,
        reward_planes: CasePlanes | None = None,
        share: float = 0.01,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.network = network
        self.study = study
        self.plan = plan
        self.budget = budget
        self.test_planes = test_planes
        self.reward_planes = reward_planes
        self.share = share
        self.seconds = 1.0
        self._taken = 0.0
        self._shown: str | None = None
        self._engine: Engine | None = None
        self._planes: list[tuple[Plane, ...]] | None = None

    def attach(self, engine: Engine) -> None:
        """Follow the episodes of ``engine``."""
        self._engine = engine
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self.update())

    def update(self, candidates: Sequence[Mapping[str, Any]] = ()) -> None:
        """Show how far the search has come, when it is time to.

        Args:
            candidates: the contenders so far, as in :class:`~monai_ronas.utils.SearchResult`.
        """
        if is_main() and self._is_due():
            self._write(None, candidates)
            self._shown = self.budget.part

    def finish(self, result: SearchResult) -> Path:
        """Write the report of the search that has ended, its pictures as PNG files, and ``pareto.json``.

        A search that took longer than its time budget by a twentieth is warned of.

        Args:
            result: what the search found.

        Returns:
            path of the HTML file.
        """
        if self._planes is None:
            self.collect(result)
        path = self._write(result, result.candidates)
        limit, spent = self.budget.seconds, sum(self.budget.spent().values())
        if limit is not None and spent > _OVER * limit:
            told = "the search took %s, more than its time budget of %s; the report says on what"
            logger.warning(told, duration(spent), duration(limit))
        return path

    def collect(self, result: SearchResult) -> None:
        """Gather what is shown of the cases of the last score; all processes of a search have to call this.

        Args:
            result: what the search found.
        """
        kept, score = (self.reward_planes, result.score) if result.test is None else (self.test_planes, result.test)
        number = 0 if score is None else len(score.per_case)
        self._planes = []
        if kept is not None and number and len(kept.cases) == len(dealt(range(number))):
            self._planes = gathered(kept.cases, number)

    def _is_due(self) -> bool:
        if self.share <= 0:
            return False
        if self.budget.part != self._shown:
            limit = self.budget.seconds
            return limit is None or self.seconds <= self.share / 2 * limit
        return self._taken + self.seconds <= self.share * self.budget.elapsed()

    def _write(self, result: SearchResult | None, candidates: Sequence[Mapping[str, Any]]) -> Path:
        begin = time.perf_counter()
        state: Any = None if self._engine is None else self._engine.state
        path = write_report(
            self.output_dir,
            network=self.network,
            study=self.study,
            plan=self.plan,
            trace=() if state is None else state.trace,
            history=read_history(self.output_dir / "history.jsonl"),
            spent=self.budget.spent(),
            limit=self.budget.seconds,
            doing=self.budget.part,
            result=result,
            candidates=candidates,
            planes=self._planes or (),
        )
        self.seconds = time.perf_counter() - begin
        self._taken += self.seconds
        return path

# SPDX-License-Identifier: Apache-2.0
"""Who leads a race, by how much at the end of its time, and what a further turn may bring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from monai_ronas.engines.contender import Contender
from monai_ronas.engines.forecast import (
    Curve,
    Lead,
    Prior,
    common_slope,
    cost_of_turn,
    forecast,
    lead,
    lead_in_terms_of,
    sd_after,
    value_of_turn,
)
from monai_ronas.space import Architecture
from monai_ronas.utils import ChildScore
from monai_ronas.utils.ranks import number_of_ranks


class Standings:
    """The contenders of a race, and what their learning curves say of the end.

    Times are seconds, or steps where there is no time budget. ``left`` is what a training could still have.

    Args:
        prior: what is expected of learning curves.
        objective: what is maximised of a score: the Dice times a positive factor. Default: the Dice.
        operations: of an architecture. The seconds of a score that a contender has not had are expected by them.
            Default: all take as long as the leader's.

    Attributes:
        contenders: the first is the base network.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        objective: Callable[[ChildScore, Architecture], float] | None = None,
        operations: Callable[[Architecture], float] | None = None,
    ) -> None:
        self.prior = prior
        self.objective = objective
        self.operations = operations
        self.contenders: list[Contender] = []
        self._leader: Contender | None = None

    @property
    def leader(self) -> Contender:
        """The contender that is best by forecast.

        Raises:
            RuntimeError: before the race has begun.
        """
        if self._leader is None:
            raise RuntimeError("the race has not begun.")
        return self._leader

    @leader.setter
    def leader(self, contender: Contender) -> None:
        self._leader = contender

    @property
    def slope(self) -> float:
        """The slope of all curves."""
        return common_slope([c.curve for c in self.contenders if c.curve.times and not c.failed], self.prior)

    def expected(self, contender: Contender, left: float) -> float | None:
        """Soft Dice that a contender would have with all the time that is left; None where nothing was measured."""
        if contender.failed or not contender.curve.times:
            return None
        return 1 - self._error(contender, left)

    def lead(self, challenger: Contender, left: float) -> Lead:
        """The lead of a contender over the leader at the end of the time, in terms of the objective."""
        leader = self.leader
        ends = self._ends(challenger, left)
        found = lead(challenger.curve, leader.curve, ends, self.slope, self.prior)
        if self.objective is None or not leader.scores:
            return found
        return lead_in_terms_of(self._factor(challenger) / self._factor(leader), found, self._error(leader, left))

    def in_words(self, contender: Contender, left: float) -> str:
        """What the last score of a contender says, for the log."""
        score = contender.scores[-1]
        words = (
            f"{contender.origin} {contender.architecture.id} after {contender.trained:.4g}: Dice {score.reward:.4f}, "
            f"soft Dice {1 - contender.curve.means[-1]:.4f}"
        )
        if contender is self.leader or not self.leader.scores:
            return words
        lead = self.lead(contender, left)
        return f"{words}, error at the end {-100 * lead.mean:+.0f} % +- {100 * lead.sd:.0f} % against the leader's"

    def choose_leader(self, left: float, *, unmeasured: bool) -> None:
        """Let the contender lead that is best by forecast.

        Args:
            left: time.
            unmeasured: contenders that have not been trained are among them, where there is an objective: it may put
                them ahead.
        """
        racing = [c for c in self.contenders if not c.failed]
        if self.leader.failed and racing:
            self.leader = max(racing, key=lambda c: c.trained)
        if self.objective is None or not unmeasured:
            racing = [c for c in racing if c.curve.times]
        leads = {c: self.lead(c, left).mean for c in racing if c is not self.leader}
        ahead = max(leads, key=lambda c: leads[c], default=None)
        if ahead is not None and leads[ahead] > 0:
            self.leader = ahead

    def first_turn_pays(self, first: float, left: float, contenders: int) -> bool:
        """Whether a first turn of so much time may be worth it before any is made; scores are not counted.

        With an objective it is, as that may put others ahead once the error of one is known.
        """
        if first <= 0 or contenders < 2:
            return False
        if self.objective is not None:
            return True
        after = sd_after(Curve(), Curve(), [first], (left, left), self.slope, self.prior)
        challengers = max(min(number_of_ranks(), contenders) - 1, 1)
        value = challengers * value_of_turn(Lead(self.prior.lead, self.prior.lead_sd), after)
        return value > cost_of_turn(self.slope, first, left)

    def surplus(self, challenger: Contender, times: Sequence[float], time: float, left: float) -> float:
        """What a challenger's next turn may be expected to bring, less what it costs the leader.

        Args:
            challenger: whose turn.
            times: of its training at each of its measurements, that after the turn included.
            time: that the turn takes from the leader, scores included.
            left: time.
        """
        ends = self._ends(challenger, left)
        after = sd_after(challenger.curve, self.leader.curve, times, ends, self.slope, self.prior)
        return value_of_turn(self.lead(challenger, left), after) - cost_of_turn(self.slope, time, ends[1])

    def _ends(self, challenger: Contender, left: float) -> tuple[float, float]:
        """Training that a challenger and the leader would have at the end if one of them had all the time."""
        return challenger.trained + left, self.leader.trained + left

    def _error(self, contender: Contender, left: float) -> float:
        return math.exp(forecast(contender.curve, contender.trained + left, self.slope, self.prior)[0])

    def _factor(self, contender: Contender) -> float:
        """What the objective makes of a contender's Dice, as a factor; the leader has been scored."""
        assert self.objective is not None
        score = (contender.scores or self.leader.scores)[-1]
        seconds = score.seconds
        if not contender.scores and self.operations is not None:
            seconds *= self.operations(contender.architecture) / self.operations(self.leader.architecture)
        return self.objective(replace(score, reward=1.0, seconds=seconds), contender.architecture)

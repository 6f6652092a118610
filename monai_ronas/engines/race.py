# SPDX-License-Identifier: Apache-2.0
"""The end of a search: contenders train side by side until one of them is worth all the time that is left."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events

from monai_ronas.engines.averaged_weights import on_cpu
from monai_ronas.engines.contender import Contender
from monai_ronas.engines.contender_scoring import ContenderScoring
from monai_ronas.engines.contender_training import ContenderTraining
from monai_ronas.engines.forecast import Prior
from monai_ronas.engines.scorer import ChildScorer
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.engines.standings import Standings
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import ChildScore, TimeBudget, TrainingError
from monai_ronas.utils.ranks import from_main, number_of_ranks

logger = logging.getLogger(__name__)
_MOST_TURNS = 100


class Race(Engine):
    """Train contenders in turns, each with its own weights and optimiser, until one deserves the rest of the time.

    An iteration of the engine is a turn: a contender trains until it has had a stated time, loading included, and is
    scored on the same cases as the others. It is scored with weights averaged over its last steps, as its learning rate
    stays at its height. All start from new weights, with the same seeds of crops and the same order of cases.

    The turns of one that does not win are lost, so each must be worth its time: what its result may be expected to
    bring (:func:`~monai_ronas.engines.forecast.value_of_turn`) is held against what the leader loses by the time
    (:func:`~monai_ronas.engines.forecast.cost_of_turn`), both as logarithms of the error at the end of the budget. The
    turn with the highest surplus is next. Where none has any, the race is over: with little time, or where all are
    alike, before its first turn. The leader is the contender that is best by forecast, at first the base network. At
    the end its weights and optimiser are those of ``slices``.

    What an objective makes of a contender is known without its training: with one, the base network has its first turn
    where there is time for it, and from that follows by how much the objective puts the others ahead.

    In many processes an iteration is a turn of as many contenders: each process trains one, as a single process would,
    with crops and gradients of its own. Then all get its weights and its optimiser, and score one contender after the
    other with the cases dealt among them. Beside the contender whose turn has the highest surplus come the leader and
    those whose turns pay for their score and take no longer: their training costs no time, and what they may be
    expected to bring is added to the surplus.

    Args:
        slices: trains the weights.
        scorer: scores a contender on the reward cases.
        space: the architectures.
        budget: the time budget; without one, steps are counted instead of seconds.
        steps: steps of the whole training where there is no time budget.
        prior: what is expected of learning curves.
        objective: what is maximised of a score, as in :class:`~monai_ronas.engines.ControllerTrainer`: the Dice times a
            positive factor. Default: the Dice.
        operations: of an architecture. The seconds of a score that a contender has not had are expected by them, for an
            objective that goes by the seconds. Default: all take as long as the leader's.
        first_turn: part of the time for the first turn of each contender.
        growth: a contender's training after a turn, relative to that after its turn before.
        least_steps: fewest steps of the first turn, unless they would take all the time that a turn may.
        most: part of the time after which nobody has a further turn.
        score_share: under a time budget, contenders are scored on as many reward cases as take this part of the first
            turn, but at least four.
        seed: seed of weights, crops and order of cases.
    """

    def __init__(
        self,
        slices: SliceTrainer,
        scorer: ChildScorer,
        space: RonasSpace,
        budget: TimeBudget,
        *,
        steps: int,
        prior: Prior | None = None,
        objective: Callable[[ChildScore, Architecture], float] | None = None,
        operations: Callable[[Architecture], float] | None = None,
        first_turn: float = 0.02,
        growth: float = 2.0,
        least_steps: int = 40,
        most: float = 0.5,
        score_share: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__(lambda engine, batch: self._turns())
        self.slices = slices
        self.scorer = scorer
        self.space = space
        self.budget = budget
        self.steps = steps
        self.standings = Standings(prior or Prior(), objective=objective, operations=operations)
        self.first_turn = first_turn
        self.growth = growth
        self.least_steps = least_steps
        self.most = most
        self.next: Contender | None = None
        self.training = ContenderTraining(slices, space, budget, seed=seed)
        self.scoring = ContenderScoring(self.training, scorer, share=score_share)
        self.times: list[float] = []
        self.add_event_handler(Events.ITERATION_COMPLETED, Race._follow)

    @property
    def contenders(self) -> list[Contender]:
        """All of them, the base network first; empty before the race has begun."""
        return self.standings.contenders

    @property
    def leader(self) -> Contender:
        """The contender that is best by forecast.

        Raises:
            RuntimeError: before the race has begun.
        """
        return self.standings.leader

    def decide(self, listed: Mapping[Architecture, str], between: Callable[[], None] | None = None) -> Contender:
        """Hold the race, or go on with it after :meth:`load_state_dict`; returns the leader.

        Args:
            listed: the contenders with their origins; the first is the base network. A race that goes on has its own.
            between: called after every turn, such as for a checkpoint.

        Raises:
            TrainingError: when no contender can be trained and scored.
        """
        if not self.contenders:
            self.contenders.extend(Contender(a, origin) for a, origin in listed.items())
            self.standings.leader = self.contenders[0]
            self.next = self.leader if self._is_worth(self.first_turn * self.left) else None
        if self.next is not None:
            logger.info("race: %d contenders", len(self.contenders))
            handler = None if between is None else self.add_event_handler(Events.ITERATION_COMPLETED, lambda: between())
            self.run(range(_MOST_TURNS), max_epochs=1)
            if handler is not None:
                handler.remove()
        elif not any(c.scores for c in self.contenders):
            logger.info("no race: no turn is worth its time")
        if self.leader.failed:
            raise TrainingError("no contender can be scored: look at the warnings above.")
        self.training.enter(self.leader)
        self.slices.network.select(self.leader.architecture)
        self.training.average.stop()
        for contender in self.contenders:
            contender.state = None
        return self.leader

    @property
    def left(self) -> float:
        """Seconds or steps that a training could still have."""
        end = self.budget.until(1.0)
        return max((self.steps if end is None else end) - self.training.now(), 0.0)

    def _turns(self) -> list[Contender]:
        """Train and score the next contender, in many processes others beside it."""
        turned = self._turned()
        if self.times:
            trained = self.training.turn({c: self._length(c) for c in turned}, self._refuse_twin)
        else:
            left = self.left
            lengths = dict.fromkeys(turned, self.first_turn * left)
            trained = self.training.turn(lengths, self._refuse_twin, least=self.least_steps, most=self.most * left)
            if trained:
                self.times = [self.training.last * self.growth**n for n in range(_MOST_TURNS)]
        if not trained or not self._is_worth(self.times[0]):
            return []
        for contender in trained:
            first = not any(c.scores for c in self.contenders)
            self.scoring.measure(contender, self.times[len(contender.curve.times)], of=len(trained), first=first)
        return trained

    def _turned(self) -> list[Contender]:
        """Whose turn it is: one for each process, as far as there are any whose turn costs no time beside the next."""
        assert self.next is not None
        turned = [self.next, *self._beside(self.next)]
        return [self.contenders[place] for place in from_main([self.contenders.index(c) for c in turned])]

    def _beside(self, contender: Contender) -> dict[Contender, float]:
        """Those whose turns many processes make beside that of a contender, with what each may be expected to bring."""
        number = number_of_ranks() - 1
        if self.times and not self.leader.scores:
            return {}  # the leads of others are not known
        others = [c for c in self.contenders if c is not contender and not c.failed] if number else []
        if not self.times:
            return dict.fromkeys(others[:number], 0.0)
        worth = {c: 0.0 if c is self.leader else self._surplus(c, beside=True) for c in others}
        others = [c for c in others if c is self.leader or worth[c] > 0]
        others = [c for c in others if self._length(c) <= self._length(contender)]
        others.sort(key=lambda c: (c is not self.leader, -worth[c]))
        return {c: worth[c] for c in others[:number]}

    def _refuse_twin(self, contender: Contender) -> None:
        """Two may have become the same network where memory allows only smaller patches: one of them is enough."""
        architecture = self.training.fitted(contender)
        if not contender.scores and any(c.scores and c.architecture == architecture for c in self.contenders):
            raise TrainingError("within the memory it is the same as another contender.")

    def is_worth_holding(self, contenders: int) -> bool:
        """Whether a race of so many contenders would be begun, by what is expected before anything is measured."""
        return self._first_turn_pays(self.first_turn * self.left, contenders)

    @property
    def spent_steps(self) -> int:
        """Steps that the race has taken from the training where there is no time budget, those of the leader too."""
        return round(self.training.spent)

    def expected(self, contender: Contender) -> float | None:
        """Soft Dice that a contender would have with all the time that is left; None where nothing was measured."""
        return self.standings.expected(contender, self.left)

    def _follow(self) -> None:
        """Tell what the turns have shown, and choose the next one."""
        self._choose_next()
        places = [None if c is None else self.contenders.index(c) for c in (self.leader, self.next)]
        leader, self.next = (None if place is None else self.contenders[place] for place in from_main(places))
        assert leader is not None
        self.standings.leader = leader
        if self.next is None:
            self.terminate()

    def _choose_next(self) -> None:
        self.next = None
        if all(c.failed for c in self.contenders):
            return
        self.standings.choose_leader(self.left, unmeasured=bool(self.times) and self.times[0] <= self.most * self.left)
        leader = self.leader
        turns: Any = self.state.output
        for turned in turns or ():
            if not turned.failed and turned.scores:
                logger.info("race: %s", self.standings.in_words(turned, self.left))
        if not leader.curve.times:
            if not self.times or self._is_worth(self.times[0]):
                self.next = leader
            return
        worth = {c: self._surplus(c) for c in self.contenders if c is not leader and not c.failed}
        challenger = max(worth, key=lambda c: worth[c], default=leader)
        if worth.get(challenger, 0.0) + sum(self._beside(challenger).values()) > 0:
            lags = len(leader.curve.times) <= len(challenger.curve.times)
            self.next = leader if lags else challenger

    def _length(self, contender: Contender) -> float:
        """Seconds or steps of a contender's next turn."""
        return self.times[len(contender.curve.times)] - contender.trained

    def _is_worth(self, first: float) -> bool:
        """Whether a first turn of so much time may be worth it, once there is a score in any case."""
        return any(c.scores for c in self.contenders) or self._first_turn_pays(first, len(self.contenders))

    def _first_turn_pays(self, first: float, contenders: int) -> bool:
        left = self.left
        return first <= self.most * left and self.standings.first_turn_pays(first, left, contenders)

    def _surplus(self, challenger: Contender, *, beside: bool = False) -> float:
        """What a challenger's next turn may be expected to bring, less what it costs the leader.

        Args:
            challenger: whose turn.
            beside: it trains while another one does, so that only its score takes time.
        """
        leader, left = self.leader, self.left
        number = len(challenger.curve.times) + 1
        if self.times[number - 1] > self.most * left:
            return -math.inf
        scoring = leader.scores[-1].seconds if self.budget.seconds is not None and leader.scores else 0.0
        scores = 1 + (len(leader.curve.times) < number)
        time = scoring if beside else self._length(challenger) + scores * scoring
        return self.standings.surplus(challenger, self.times[:number], time, left)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """All that the race goes on from, as tensors and plain types; that of the trainer is not in it."""
        present = self.training.present
        return {
            "times": self.times[:1],
            "spent": self.training.spent,
            "present": None if present is None else self.contenders.index(present),
            "next": None if self.next is None else self.contenders.index(self.next),
            "average": on_cpu(self.training.average.state_dict()),
            "leader": self.contenders.index(self.leader),
            "contenders": [c.to_dict() for c in self.contenders],
            "cases": list(self.scorer.sampler.indices),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Inverse of :meth:`state_dict`; the trainer has been put where it was by whoever saved it."""
        self.times = [first * self.growth**n for first in state["times"] for n in range(_MOST_TURNS)]
        self.training.spent = state["spent"]
        self.contenders[:] = [Contender.from_dict(c) for c in state["contenders"]]
        self.standings.leader = self.contenders[state["leader"]]
        self.scorer.sampler.indices = list(state["cases"])
        self.next = None if state["next"] is None else self.contenders[state["next"]]
        if state["present"] is not None:
            self.training.present = self.contenders[state["present"]]
            self.training.average.load_state_dict(state["average"])

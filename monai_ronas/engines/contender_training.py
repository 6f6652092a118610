# SPDX-License-Identifier: Apache-2.0
"""The training of contenders in turns, each with its own weights and optimiser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Events

from monai_ronas.engines.averaged_weights import AveragedWeights, on_cpu
from monai_ronas.engines.contender import Contender, trainable
from monai_ronas.engines.phase import Phase
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.space import Architecture, RonasSpace
from monai_ronas.utils import TimeBudget, TrainingError
from monai_ronas.utils.collectives import from_all, from_rank
from monai_ronas.utils.ranks import apart, number_of_ranks, own_rank

logger = logging.getLogger(__name__)


@dataclass
class _Report:
    """What has become of a contender in its turn.

    Args:
        architecture: the contender's, with the patch that fits.
        steps: that it was trained.
        spent: seconds, or steps where there is no time budget.
        wrong: why it cannot be trained; empty where it can.
    """

    architecture: Architecture
    steps: int = 0
    spent: float = 0.0
    wrong: str = ""


class ContenderTraining:
    """Give contenders turns on one trainer, which has the state of one of them; the others' are kept on the CPU.

    In many processes each trains a contender of its own, apart from the others, as a single process would: with its own
    crops, gradients, limits of memory and clock. After the turn all have the state of each contender that was trained,
    the limits of all, and the same random state, so that any of them, or another number of them, can go on.

    Args:
        slices: trains the weights.
        space: the architectures.
        budget: the time budget; without one, steps are counted instead of seconds.
        seed: seed of weights, crops and order of cases.

    Attributes:
        average: of the weights of the contender that the trainer has.
        present: that contender.
        spent: steps that the turns have taken, of those in many processes at once the longest, where there is no time
            budget.
        last: length of the last turn, in seconds or steps.
    """

    def __init__(self, slices: SliceTrainer, space: RonasSpace, budget: TimeBudget, *, seed: int = 0) -> None:
        self.slices = slices
        self.space = space
        self.budget = budget
        self.seed = seed
        self.average = AveragedWeights(slices.network)
        self.present: Contender | None = None
        self.spent = 0.0
        self.last = 0.0
        slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.average.update)

    def now(self) -> float:
        """Seconds, or steps of all turns where there is no time budget."""
        return self.spent if self.budget.seconds is None else self.budget.elapsed()

    def fitted(self, contender: Contender) -> Architecture:
        """The contender's architecture, from now on with a patch that fits into the memory.

        Raises:
            TrainingError: when there is none.
        """
        contender.architecture = trainable(self.space, contender.architecture)
        return contender.architecture

    def turn(
        self,
        lengths: Mapping[Contender, float],
        check: Callable[[Contender], None],
        *,
        least: int = 0,
        most: float = 0.0,
    ) -> list[Contender]:
        """Train contenders for a while, each in a process of its own, and return those for whom that went well.

        Args:
            lengths: no more contenders than processes, and the seconds or steps of each one's turn.
            check: called before a contender is trained; raises :class:`~monai_ronas.utils.TrainingError` where it is
                not to be.
            least: where there is a time budget, all train on until the first of them has made so many steps.
            most: length of the turn, in seconds, after which they no longer do.
        """
        turned = list(lengths)
        if number_of_ranks() > 1:
            self._put_aside()
        own = turned[own_rank()] if own_rank() < len(turned) else None
        if own is not None:
            self.enter(own)
        report = _Report((own or turned[0]).architecture)
        more = 0.0 if own is None else lengths[own]
        while True:
            with apart():
                if own is not None and not report.wrong:
                    self._train(own, more, report, check)
            reports = from_all(report)[: len(turned)]
            timed = next((r for r in reports if not r.wrong), None)
            if timed is None:
                break
            self.last = timed.spent
            if self.budget.seconds is None or timed.steps >= least or timed.spent >= most:
                break
            more = min((least - timed.steps) * timed.spent / timed.steps, most - timed.spent)
        if self.budget.seconds is None:
            self.spent += max(r.steps for r in reports)
        for contender, done in zip(turned, reports, strict=True):
            contender.architecture, contender.failed = done.architecture, bool(done.wrong)
            if done.wrong:
                logger.warning("race: %s %s is out: %s", contender.origin, done.architecture.id, done.wrong)
        if number_of_ranks() > 1:
            self._share(turned)
        return [c for c in turned if not c.failed]

    def _train(
        self,
        contender: Contender,
        length: float,
        report: _Report,
        check: Callable[[Contender], None],
    ) -> None:
        begin, first_step = self.budget.elapsed(), self.slices.steps
        try:
            check(contender)
            phase = self._phase(f"race, {contender.origin}", length)
            self.slices.run(lambda: self.fitted(contender), phase=phase)
        except TrainingError as error:
            report.wrong = str(error)
        report.architecture = contender.architecture
        report.steps += self.slices.steps - first_step
        report.spent = report.steps if self.budget.seconds is None else report.spent + self.budget.elapsed() - begin

    def _phase(self, name: str, length: float) -> Phase:
        """A stretch of training of so many seconds or steps."""
        usable = self.budget.until(1.0)
        if usable is None:
            return Phase(name, self.slices, self.budget, steps=round(length), until=1.0)
        until = (self.budget.elapsed() + length) / max(usable, 1e-9)
        return Phase(name, self.slices, self.budget, steps=1, until=until)

    def _share(self, turned: list[Contender]) -> None:
        """Give all processes the state of each contender, from the one that has trained it, and the limits of all."""
        self.slices.share_limit()
        self.present = None
        for rank, contender in enumerate(turned):
            state = self._state() if rank == own_rank() and not contender.failed else None
            contender.state = from_rank(state, rank)

    def enter(self, contender: Contender) -> None:
        """Let the trainer go on with a contender, from its own state or from new weights."""
        if self.present is contender:
            return
        self._put_aside()
        self.present = contender
        state = contender.state
        if state is None:
            torch.manual_seed(self.seed)
            new = RonasUNet(**self.slices.network.network_kwargs(contender.architecture))
            self.slices.start_anew(new.state_dict(), seed=self.seed)
            torch.manual_seed(self.seed)  # for the order of the cases: a larger network has drawn more
            self.average.start()
        else:
            self.slices.load_state_dict(state["training"])
            self.average.load_state_dict(state["average"])
            torch.set_rng_state(state["torch_rng"])
            contender.state = None

    def _put_aside(self) -> None:
        """Keep the state of the contender that the trainer has, which is no longer there then."""
        if self.present is not None and not self.present.failed:
            self.present.state = self._state()
        self.present = None

    def _state(self) -> dict[str, Any]:
        state = {"training": self.slices.state_dict(), "average": self.average.state_dict()}
        return {**on_cpu(state), "torch_rng": torch.get_rng_state()}

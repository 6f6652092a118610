# SPDX-License-Identifier: Apache-2.0
"""The score of a child: a stock evaluator on cases that all children of an episode share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from torch.utils.data import Sampler

from monai_ronas.errors import SettingError
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture
from monai_ronas.utils import ChildScore, is_out_of_memory, memory_mb
from monai_ronas.utils.collectives import dealt, gathered, least
from monai_ronas.utils.ranks import OutOfMemoryElsewhere, agree_any, from_main, meet, number_of_ranks

logger = logging.getLogger(__name__)
_LONG = 2.0  # seconds of a score that is not made twice to know how long it takes


class EpisodeSampler(Sampler[int]):
    """The cases that the next scores are made on; the same until :meth:`choose` is called again.

    In many processes each goes through its own part of them (:func:`~monai_ronas.utils.collectives.dealt`).

    Args:
        num_cases: number of cases.
        per_episode: cases in an episode. Default: all.
        seed: seed of the choice, which depends on nothing else but the episode.

    Example:
        >>> sampler = EpisodeSampler(4, per_episode=2)
        >>> sampler.choose(1)
        >>> first = list(sampler)
        >>> sampler.choose(2)
        >>> sorted(first + list(sampler))
        [0, 1, 2, 3]
    """

    def __init__(self, num_cases: int, *, per_episode: int | None = None, seed: int = 0) -> None:
        self.num_cases = num_cases
        self.per_episode = num_cases if per_episode is None else min(per_episode, num_cases)
        self.seed = seed
        self.indices: list[int] = list(range(num_cases))

    def choose(self, episode: int) -> None:
        """Choose the cases of an episode: a rotation through a fixed random order, so that all get their turn."""
        order = self._order()
        first = (episode - 1) * self.per_episode
        self.indices = sorted(order[(first + k) % self.num_cases] for k in range(self.per_episode))

    def choose_all(self, *, shuffled: bool = False) -> None:
        """Choose every case; ``shuffled``: in the fixed random order."""
        self.indices = self._order() if shuffled else list(range(self.num_cases))

    def _order(self) -> list[int]:
        return torch.randperm(self.num_cases, generator=torch.Generator().manual_seed(self.seed)).tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(dealt(self.indices))

    def __len__(self) -> int:
        return len(dealt(self.indices))


class ChildScorer:
    """Select an architecture, run the evaluator on the episode's cases, read its key metric.

    In many processes each scores its own part of the cases, and all have the whole score: that of a single process with
    the same weights. One that works apart from the others scores all cases itself.

    Args:
        network: the supernet.
        evaluator: evaluator of ``network`` whose key metric keeps ``(cases, classes)`` in ``state.metric_details``, in
            many processes its own ones alone, as :class:`~monai_ronas.metrics.OwnMeanDice` does.
            Where its postprocessing has :class:`~monai_ronas.metrics.SoftDiced`, scores tell that too.
        sampler: the sampler of the evaluator's data loader.
        case_names: names of all cases, in the order of the data set.
        one_shot_voxels: voxels of the largest volume that an architecture segments in one shot; where the evaluator's
            inferer does not segment all volumes in windows, this is its limit. Default: the inferer's own.
    """

    def __init__(
        self,
        network: RonasSuperNet,
        evaluator: SupervisedEvaluator,
        sampler: EpisodeSampler,
        case_names: Sequence[str],
        one_shot_voxels: Callable[[Architecture], int] | None = None,
    ) -> None:
        self.network = network
        self.evaluator = evaluator
        self.sampler = sampler
        self.case_names = tuple(case_names)
        self.one_shot_voxels = one_shot_voxels
        self._limited: Architecture | None = None
        self._soft: list[float] = []
        self._agreed = False  # that no rank lacks memory in the present score
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        meet()
        output: Any = engine.state.output
        for item in output if isinstance(output, list) else ():
            if "soft_dice" in item:
                self._soft.append(float(item["soft_dice"].nanmean()))
        if engine.state.iteration == engine.state.epoch_length:
            if agree_any(False):
                raise OutOfMemoryElsewhere("the memory of another rank did not suffice")
            self._agreed = True

    @property
    def cases(self) -> list[str]:
        """Names of the cases that scores are made on now."""
        return [self.case_names[i] for i in self.sampler.indices]

    def estimated_seconds(self, seconds_per_run: float) -> float:
        """Seconds of a case's score, by those of a network's run on a volume; one case is read to see how long."""
        begin = time.perf_counter()
        next(iter(self.evaluator.data_loader))
        reading = time.perf_counter() - begin
        runs = getattr(self.evaluator.inferer, "runs", 1)
        return from_main(reading + runs * seconds_per_run)

    def seconds_of_a_case(self) -> float:
        """Seconds that the score of a case takes with the selected architecture; of two where they are quick."""
        chosen, self.sampler.indices = self.sampler.indices, self.sampler.indices[:1]
        try:
            seconds = self.score(self.network.architecture).seconds
            return seconds if seconds > _LONG else min(seconds, self.score(self.network.architecture).seconds)
        finally:
            self.sampler.indices = chosen

    def choose_some(self, number: int) -> None:
        """Choose so many of the reward cases, evenly spread."""
        total = len(self.case_names)
        self.sampler.indices = sorted({int(i) for i in np.linspace(0, total - 1, min(max(number, 1), total)).round()})

    @contextmanager
    def in_windows(self, overlap: float) -> Iterator[None]:
        """Volumes that are larger than the training patch are segmented in windows for a while."""
        inferer = self.evaluator.inferer
        if not isinstance(inferer, PadToStrideInferer):
            yield
            return
        own = inferer.max_voxels, inferer.overlap
        inferer.max_voxels, inferer.overlap = 0, overlap
        try:
            yield
        finally:
            inferer.max_voxels, inferer.overlap = own

    def select(self, architecture: Architecture) -> None:
        """Select an architecture, with its own limit of volumes in one shot; one that was lowered since then stays."""
        self.network.select(architecture)
        inferer = self.evaluator.inferer
        windows = not isinstance(inferer, PadToStrideInferer) or inferer.max_voxels == 0
        if self.one_shot_voxels is not None and architecture != self._limited and not windows:
            inferer.max_voxels = self.one_shot_voxels(architecture)  # type: ignore[attr-defined]
            self._limited = architecture

    def score(self, architecture: Architecture) -> ChildScore:
        """Score ``architecture`` with the supernet's present weights.

        A class that a case does not have is left out of the case's mean, a case without any foreground out of the
        reward; where nothing is left, the status is ``"failed"``, and ``"oom"`` where the memory did not suffice.

        Raises:
            SettingError: when the key metric has other cases than those that this process has scored.
        """
        self.select(architecture)
        device = self.evaluator.state.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        self.evaluator.state.epoch_length = len(self.sampler)
        self._soft.clear()
        self._agreed = False
        try:
            self.evaluator.run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if not isinstance(error, OutOfMemoryElsewhere):
                if self._agreed and number_of_ranks() > 1:
                    raise
                agree_any(True)
            self.evaluator._internal_run_generator = None  # Ignite would end the next run where this one broke off
            self._agree_on_limit()
            logger.warning("out of memory while %s was scored", architecture.id)
            nothing = (math.nan,) * len(self.sampler.indices)
            return ChildScore(math.nan, nothing, *self._costs(start, device), status="oom")
        name = self.evaluator.state.key_metric_name
        number = len(self.sampler.indices)
        own = torch.as_tensor(self.evaluator.state.metric_details[name]).float()
        if len(own) != len(self.sampler):
            raise SettingError(
                f"the key metric has {len(own)} cases where {len(self.sampler)} were scored: in many processes it must "
                "not gather those of others, such as monai_ronas.metrics.OwnMeanDice."
            )
        details = torch.tensor(gathered(own.tolist(), number))
        soft = gathered(self._soft, number) if self._soft else []
        self._agree_on_limit()
        per_case = details.nanmean(dim=1)
        reward = float(per_case.nanmean())
        seconds, peak_memory_mb = self._costs(start, device)
        return ChildScore(
            reward=reward,
            per_case=tuple(per_case.tolist()),
            seconds=seconds,
            peak_memory_mb=peak_memory_mb,
            status="ok" if math.isfinite(reward) else "failed",
            soft=tuple(soft),
            per_class=tuple(map(tuple, details.tolist())),
        )

    def _costs(self, start: float, device: torch.device) -> tuple[float, float]:
        """Seconds since ``start`` on rank 0, and the peak memory in MB of the rank that needed most."""
        return from_main(time.perf_counter() - start), -least(-memory_mb(device))

    def _agree_on_limit(self) -> None:
        """The limit of volumes in one shot, which a lack of memory lowers, is the least of all ranks."""
        inferer = self.evaluator.inferer
        if number_of_ranks() > 1 and isinstance(inferer, PadToStrideInferer):
            limit = least(math.inf if inferer.max_voxels is None else inferer.max_voxels)
            inferer.max_voxels = None if math.isinf(limit) else int(limit)

    def score_in_time(self, architecture: Architecture, left: Callable[[], float]) -> ChildScore:
        """Score on as many of all cases, in the sampler's fixed random order, as the time allows, but at least one.

        No case is begun that would end too late if it took as long as the longest so far. :attr:`cases` then names
        those that were scored, in the order of ``per_case``.

        Args:
            architecture: to be scored.
            left: tells the seconds that are left.
        """
        self.sampler.choose_all(shuffled=True)
        ranks, indices = number_of_ranks(), self.sampler.indices
        before, longest = left(), 0.0

        def look(engine: Engine) -> None:
            nonlocal before, longest
            done = engine.state.iteration * ranks
            if done + ranks > len(indices):  # the last cases of all, or of some of the processes
                return
            if agree_any(False):
                raise OutOfMemoryElsewhere("the memory of another rank did not suffice")
            from_main(None)  # all have the time of rank 0, now that the slowest is here
            now = left()
            longest, before = max(longest, before - now), now
            if now < longest:
                self.sampler.indices = indices[:done]
                self._agreed = True  # just now; there is no last case on which they would
                engine.terminate_epoch()

        with self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, look):
            return self.score(architecture)


def valid_score(
    scorer: ChildScorer | None, architecture: Architecture, *, left: Callable[[], float] | None = None
) -> ChildScore | None:
    """The score of an architecture, or None without a scorer and, with a warning, where it has no score.

    Args:
        scorer: scores the architecture.
        architecture: to be scored.
        left: tells the seconds that the score may take. Default: no limit, all cases.
    """
    if scorer is None:
        return None
    score = scorer.score(architecture) if left is None else scorer.score_in_time(architecture, left)
    if score.status != "ok":
        logger.warning("the test cases have no score: %s", score.status)
        return None
    return score

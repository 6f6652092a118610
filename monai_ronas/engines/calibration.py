# SPDX-License-Identifier: Apache-2.0
"""The temperature of the derived network's probabilities, fitted on reward cases."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from ignite.engine.events import RemovableEventHandle
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.networks import eval_mode
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset

from monai_ronas.metrics import fit_temperature, reliability, sampled
from monai_ronas.networks import MemberInferer, PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture
from monai_ronas.utils import Reliability, TemperatureFit, is_out_of_memory
from monai_ronas.utils.collectives import from_all, gathered
from monai_ronas.utils.ranks import from_main, is_main, number_of_ranks, own_rank

logger = logging.getLogger(__name__)
_VALUES = 2**22  # logarithms of probabilities that are kept
_Sample = tuple[np.ndarray, np.ndarray]  # logarithms of probabilities, and classes


class _Found(NamedTuple):
    """What a process has of the reward cases.

    Attributes:
        samples: by place of the case.
        short: the memory did not suffice for one of them.
        late: the time did not suffice for all of them.
    """

    samples: dict[int, _Sample]
    short: bool
    late: bool


class Calibration:
    """Fit the temperature of the ensemble's mean probabilities, as the bundle makes them, on a few reward cases.

    One number divides the logarithms of the probabilities, so that the most likely class stays what it is. It is that
    for which the labels near the foreground are most likely (see :func:`~monai_ronas.metrics.near_foreground`).

    Where the final training has seen the reward cases, networks are surer of them than of others. The temperature is
    then too low rather than too high, and the result says that they were seen. One below 1 would make probabilities
    surer by cases that have been learnt, so that 1 takes its place.

    Cases of which the bundle gives class indices alone, for want of memory, are left out. In many processes the cases
    are dealt.

    Args:
        network: the supernet, with the trained weights.
        dataset: preprocessed reward cases, with ``image`` and ``label``.
        inferer: how the bundle segments, with its flips.
        seconds: time that it may take. Default: no limit.
        cases: reward cases at most, evenly spread.
        seen: the final training has had the reward cases.
        one_shot_voxels: voxels of the largest volume that an architecture segments in one shot, where ``inferer`` does
            not segment all volumes in windows. Default: the inferer's own limit.
    """

    def __init__(
        self,
        network: RonasSuperNet,
        dataset: Dataset,
        inferer: PadToStrideInferer,
        *,
        seconds: float | None = None,
        cases: int = 8,
        seen: bool = False,
        one_shot_voxels: Callable[[Architecture], int] | None = None,
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.inferer = inferer
        self.seconds = math.inf if seconds is None else seconds
        self.cases = cases
        self.seen = seen
        self.one_shot_voxels = one_shot_voxels

    def estimated_seconds(self, seconds: float, *, members: int) -> float:
        """Seconds to keep for it, 0 where there is no time for a case.

        Args:
            seconds: of a case in one shot.
            members: number of members beside the network.
        """
        case = max(self.inferer.runs, 1 + members) * seconds
        number = math.ceil(len(self._indices()) / number_of_ranks())
        if math.isfinite(self.seconds):
            number = min(number, int(self.seconds // case)) if case > 0 else 0
        return number * case

    def __call__(
        self,
        members: Sequence[Mapping[str, torch.Tensor]],
        *,
        windows: bool,
        seconds: float = 0.0,
        left: float = math.inf,
    ) -> TemperatureFit | None:
        """Fit for the selected architecture; None where no case could be predicted in the time or the memory.

        No case is begun that would end too late if it took as long as the longest so far.

        Args:
            members: weights of the ensemble's other members.
            windows: the bundle segments in windows of the training patch.
            seconds: of one run on a case, as it is known before the first one.
            left: seconds that are left.
        """
        parts = from_all(self._find(members, windows, seconds, min(self.seconds, left)))
        samples = {place: sample for part in parts for place, sample in part.samples.items()}
        found = [samples[place] for place in sorted(samples) if len(samples[place][1])]
        if not found and any(part.short for part in parts):
            logger.warning("no temperature: the memory does not suffice for the probabilities of a reward case")
        elif not found:
            late, looked_at = any(part.late for part in parts), len(self._indices())
            some = looked_at < len(self.dataset)  # type: ignore[arg-type]
            which = f"none of the {looked_at} reward cases that were looked at has" if some else "no reward case has"
            logger.info(
                "no temperature: %s", "the time for it does not suffice for a case" if late else f"{which} foreground"
            )
        return from_main(self._fit(found) if found and is_main() else None)

    def _indices(self) -> list[int]:
        number = len(self.dataset)  # type: ignore[arg-type]
        return sorted({int(i) for i in np.linspace(0, number - 1, min(self.cases, number)).round()}) if number else []

    def _inferer(self, *, windows: bool) -> PadToStrideInferer:
        """How the bundle segments with the selected architecture."""
        inferer = copy.copy(self.inferer)
        inferer.roi_size = self.network.patch
        if windows:
            inferer.max_voxels = 0
        elif self.one_shot_voxels is not None and inferer.max_voxels != 0:
            inferer.max_voxels = self.one_shot_voxels(self.network.architecture)
        return inferer

    def _find(
        self, members: Sequence[Mapping[str, torch.Tensor]], windows: bool, seconds: float, left: float
    ) -> _Found:
        """Predict the cases of this process."""
        network = self.network.derive(self.network.architecture, deep_supervision=False)
        device = next(self.network.parameters()).device
        network = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        inferer = self._inferer(windows=windows)
        ensemble, indices = MemberInferer(inferer, members), self._indices()
        samples: dict[int, _Sample] = {}
        most = max(_VALUES // max(len(indices), 1) // self.network.kwargs["out_channels"], 1)
        end, longest = time.perf_counter() + left, ensemble.runs * seconds
        short = late = False
        try:
            with eval_mode(network), torch.no_grad():
                for index in indices[own_rank() :: number_of_ranks()]:
                    begin = time.perf_counter()
                    if begin + longest > end:
                        late = True
                        break
                    item = self.dataset[index]
                    image, label = (torch.as_tensor(item[key]) for key in ("image", "label"))
                    volume = image[None].to(device)
                    if not ensemble.holds_all_classes(volume, network):
                        short = True
                        continue
                    samples[index] = sampled(ensemble(volume, network)[0].cpu(), label.cpu(), most=most)
                    longest = max(longest, time.perf_counter() - begin)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            short = True
        return _Found(samples, short, late)

    def _fit(self, found: Sequence[_Sample]) -> TemperatureFit:
        temperature = fit_temperature(*zip(*found, strict=True))
        if self.seen and temperature < 1.0:
            logger.info("temperature 1: training has seen the reward cases, on which %.3f would be best", temperature)
            temperature = 1.0
        before, after = (
            reliability(*zip(*found, strict=True), temperature=t).expected_error for t in (1.0, temperature)
        )
        logger.info(
            "temperature %.3f on %d reward cases: expected calibration error %.4f, with it %.4f",
            *(temperature, len(found), before, after),
        )
        return TemperatureFit(temperature, len(found), before, after, seen=self.seen)


class ReliabilityWatch:
    """Collect voxels of what an evaluator predicts, before its postprocessing makes classes of it.

    Args:
        most: voxels of a case, evenly spread over those near the foreground.
    """

    def __init__(self, *, most: int = 4096) -> None:
        self.most = most
        self._samples: list[_Sample | None] = []  # of each case, None where it tells nothing

    def on(self, evaluator: SupervisedEvaluator) -> RemovableEventHandle:
        """Look at each prediction of an evaluator, as long as the context that is returned."""
        return evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        output: Any = engine.state.output
        for logits, label in zip(output["pred"], output["label"], strict=True):
            sample = None
            if len(logits) > 1:  # else class indices, where the memory is short
                said, truth = (convert_to_tensor(value, track_meta=False) for value in (logits, label))
                try:
                    sample = sampled(said, truth.to(said.device), most=self.most)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    logger.info("the memory does not suffice to look at the reliability of a case")
            self._samples.append(sample)

    def found(self, temperature: float, *, cases: int) -> tuple[Reliability, Reliability] | None:
        """Reliability without and with a temperature, of all processes; None where nothing was seen.

        Args:
            temperature: divides the logarithms of the probabilities.
            cases: number of cases of the score, which were dealt; a process without one has looked at one of another's.
        """
        samples = [sample for sample in gathered(self._samples, cases) if sample is not None and len(sample[1])]
        if not samples:
            return None
        without, with_it = (reliability(*zip(*samples, strict=True), temperature=t) for t in (1.0, temperature))
        return without, with_it

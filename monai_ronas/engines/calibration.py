# SPDX-License-Identifier: Apache-2.0
"""The temperature of the derived network's probabilities, fitted on reward cases."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

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
from monai_ronas.utils import Reliability, TemperatureFit, is_out_of_memory
from monai_ronas.utils.ranks import from_all, from_main, is_main

logger = logging.getLogger(__name__)
_VALUES = 2**22  # logarithms of probabilities that are kept


class Calibration:
    """Fit the temperature of the ensemble's mean probabilities, as the bundle makes them, on a few reward cases.

    One number divides the logarithms of the probabilities, so that the most likely class stays what it is. It is that
    for which the labels near the foreground are most likely (see :func:`~monai_ronas.metrics.near_foreground`).

    Where the final training has seen the reward cases, networks are surer of them than of others. The temperature is
    then too low rather than too high, and the result says that they were seen.

    Of many processes the first one fits, and the others have its result.

    Args:
        network: the supernet, with the trained weights.
        dataset: preprocessed reward cases, with ``image`` and ``label``.
        inferer: how the bundle segments, with its flips.
        seconds: time that it may take. Default: no limit.
        cases: reward cases at most, evenly spread.
        seen: the final training has had the reward cases.
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
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.inferer = inferer
        self.seconds = math.inf if seconds is None else seconds
        self.cases = cases
        self.seen = seen

    def estimated_seconds(self, seconds: float, *, members: int) -> float:
        """Seconds to keep for it, 0 where there is no time for a case.

        Args:
            seconds: of a case in one shot.
            members: number of members beside the network.
        """
        case = max(self.inferer.runs, 1 + members) * seconds
        number = min(len(self._indices()), int(self.seconds // case)) if case > 0 and math.isfinite(self.seconds) else 0
        return number * case if math.isfinite(self.seconds) else len(self._indices()) * case

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
        return from_main(self._fit(members, windows, seconds, min(self.seconds, left)) if is_main() else None)

    def _indices(self) -> list[int]:
        number = len(self.dataset)  # type: ignore[arg-type]
        return sorted({int(i) for i in np.linspace(0, number - 1, min(self.cases, number)).round()}) if number else []

    def _fit(
        self, members: Sequence[Mapping[str, torch.Tensor]], windows: bool, seconds: float, left: float
    ) -> TemperatureFit | None:
        network = self.network.derive(self.network.architecture, deep_supervision=False)
        device = next(self.network.parameters()).device
        network = network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        inferer = copy.copy(self.inferer)
        inferer.roi_size, inferer.result_gb = self.network.patch, None
        if windows:
            inferer.max_voxels = 0
        ensemble, found = MemberInferer(inferer, members), []
        most = max(_VALUES // max(len(self._indices()), 1) // self.network.kwargs["out_channels"], 1)
        end, longest = time.perf_counter() + left, ensemble.runs * seconds
        try:
            with eval_mode(network), torch.no_grad():
                for index in self._indices():
                    begin = time.perf_counter()
                    if begin + longest > end:
                        break
                    item = self.dataset[index]
                    image, label = (torch.as_tensor(item[key]) for key in ("image", "label"))
                    found.append(sampled(ensemble(image[None].to(device), network)[0].cpu(), label.cpu(), most=most))
                    longest = max(longest, time.perf_counter() - begin)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("no temperature: the memory does not suffice for the probabilities of a reward case")
            return None
        found = [(x, y) for x, y in found if len(y)]
        if not found:
            logger.info("no temperature: there was no time for a reward case with foreground")
            return None
        temperature = fit_temperature(*zip(*found, strict=True))
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
        self._samples: list[tuple[np.ndarray, np.ndarray]] = []

    def on(self, evaluator: SupervisedEvaluator) -> RemovableEventHandle:
        """Look at each prediction of an evaluator, as long as the context that is returned."""
        return evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        output: Any = engine.state.output
        for logits, label in zip(output["pred"], output["label"], strict=True):
            if len(logits) > 1:  # else class indices, where the memory is short
                said, truth = (convert_to_tensor(value, track_meta=False) for value in (logits, label))
                try:
                    self._samples.append(sampled(said, truth.to(said.device), most=self.most))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    logger.info("the memory does not suffice to look at the reliability of a case")

    def found(self, temperature: float) -> tuple[Reliability, Reliability] | None:
        """Reliability without and with a temperature, of all processes; None where nothing was seen."""
        samples = [sample for part in from_all(self._samples) for sample in part if len(sample[1])]
        if not samples:
            return None
        without, with_it = (reliability(*zip(*samples, strict=True), temperature=t) for t in (1.0, temperature))
        return without, with_it

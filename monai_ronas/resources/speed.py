# SPDX-License-Identifier: Apache-2.0
"""How fast a device trains."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss

from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.optimizers import Muon, orthogonalized
from monai_ronas.resources.costs import ArchitectureCosts
from monai_ronas.space import RonasSpace
from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
CHANNELS = (16, 32, 64, 128)
_SIZES = (24, 32, 48, 64, 96, 128)
_KERNEL = 128, 27 * 128  # a kernel on which updates are timed


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step as a line over its operations.

    Args:
        seconds_per_mac: for each multiply-accumulate operation of the forward passes.
        seconds_per_update: for each such operation of the optimiser's update.
        seconds_per_step: what a step takes beside these.

    Example:
        >>> Speed(seconds_per_mac=1e-11, seconds_per_update=1e-10, seconds_per_step=0.1).seconds(20e9, 1e9)
        0.4
    """

    seconds_per_mac: float
    seconds_per_update: float = 0.0
    seconds_per_step: float = 0.0

    def seconds(self, macs: float, updates: float = 0.0) -> float:
        """Seconds of a step with so many operations; see :func:`update_macs`."""
        return self.seconds_per_step + self.seconds_per_mac * macs + self.seconds_per_update * updates


def update_macs(channels: Sequence[int], in_channels: int, *, axes: int = 3) -> int:
    """Operations of Muon's update of a network: a kernel of ``r x c`` takes about ``4 r r c + 15 r r r``.

    Args:
        channels: of the stages.
        in_channels: of the image.
        axes: spatial dimensions.
    """
    total, before, kernel = 0, in_channels, 3**axes
    for level, width in enumerate(channels):
        decoder = 2 if level + 1 < len(channels) else 0
        shapes = [(width, kernel * before), *[(width, kernel * width)] * (1 + decoder)]
        total += sum(_orthogonal_macs(*shape) for shape in shapes)
        before = width
    return total


def _orthogonal_macs(rows: int, columns: int) -> int:
    short, long = min(rows, columns), max(rows, columns)
    return 4 * short**2 * long + 15 * short**3


def measure_speed(device: str | torch.device, *, amp: bool, patience: float = 3.0) -> Speed:
    """Time training steps of a small network at two sizes of the patch.

    Args:
        device: where it trains.
        amp: in bfloat16.
        patience: seconds that the measurement may take, about.

    Returns:
        the speed.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        network = RonasUNet(3, 1, 2, channels=CHANNELS).to(device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
        measured: list[tuple[int, float]] = []
        begin = time.perf_counter()
        for size in _SIZES:
            try:
                seconds = _step_seconds(network, size, device, amp=amp)
            except (RuntimeError, MemoryError) as error:
                if not measured or not is_out_of_memory(error):
                    raise
                break
            space = RonasSpace((size,) * 3)
            costs = ArchitectureCosts(space, channels=CHANNELS, in_channels=1, out_channels=2)
            measured.append((2 * costs.macs(space.base), seconds))
            if time.perf_counter() - begin + 8 * 3 * seconds > patience and (len(measured) > 1 or seconds > patience):
                break
        update = _update_seconds(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    (few, short), (many, long) = measured[0], measured[-1]
    slope = max(long - short, 0.1 * long) / (many - few) if many > few else long / many
    beside = max(short - slope * few - update * update_macs(CHANNELS, 1), 0.0)
    logger.info(
        "speed: %.0f GFLOP/s in training, %.0f in updates, %.3f s beside them", 6e-9 / slope, 2e-9 / update, beside
    )
    return Speed(slope, update, beside)


def _update_seconds(device: torch.device) -> float:
    """Seconds for each operation of the orthogonalisation of a kernel: the shortest of three."""
    kernel = torch.randn(*_KERNEL, device=device)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        orthogonalized(kernel)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times) / _orthogonal_macs(*_KERNEL)


def _step_seconds(network: RonasUNet, size: int, device: torch.device, *, amp: bool) -> float:
    """The shorter of two training steps, after one that is not counted."""
    loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True))
    optimizer = Muon(network.parameters(), lr=1e-3)
    image = torch.randn(2, 1, size, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    label = torch.zeros(2, 1, size, size, size, device=device)
    label[..., size // 2 :] = 1
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(PadToStrideInferer(amp=amp)(image, network), label).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times[1:])

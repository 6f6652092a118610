# SPDX-License-Identifier: Apache-2.0
"""How fast a device trains."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import torch
from monai.losses import DiceCELoss

from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.optimizers import Muon
from monai_ronas.resources.costs import ArchitectureCosts
from monai_ronas.space import RonasSpace

logger = logging.getLogger(__name__)
CHANNELS = (16, 32, 64, 128)
_SIZES = (24, 32, 48, 64, 96, 128)
_UPDATE = 2 / 3  # an update in float32 costs a MAC twice, a training step of a MAC forward costs it three times


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step as a line over its operations.

    Args:
        seconds_per_mac: for each multiply-accumulate operation of the forward passes.
        seconds_per_step: what a step takes beside these.

    Example:
        >>> Speed(seconds_per_mac=1e-11, seconds_per_step=0.1).seconds(20e9)
        0.3
    """

    seconds_per_mac: float
    seconds_per_step: float

    def seconds(self, macs: float) -> float:
        """Seconds of a step with so many operations; see :func:`step_macs`."""
        return self.seconds_per_step + self.seconds_per_mac * macs


def step_macs(
    space: RonasSpace, *, channels: tuple[int, ...], in_channels: int, out_channels: int, crops: int
) -> float:
    """Operations of a training step of a space's base network, in those of forward passes.

    Muon's orthogonalisation counts as well: a kernel of ``r x c`` takes about ``4 r r c + 15 r r r`` operations, twice
    as slow as those of the convolutions where these are in bfloat16.
    """
    costs = ArchitectureCosts(space, channels=channels, in_channels=in_channels, out_channels=out_channels)
    update, before = 0, in_channels
    kernel = 3 ** len(space.shape)
    for level, width in enumerate(channels):
        wide = [(width, kernel * before), (width, kernel * width)]
        wide += [(width, kernel * width)] * (2 if level + 1 < len(channels) else 0)
        update += sum(4 * min(r, c) ** 2 * max(r, c) + 15 * min(r, c) ** 3 for r, c in wide)
        before = width
    return crops * costs.macs(space.base) + _UPDATE * update


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
        measured = []
        begin = time.perf_counter()
        for size in _SIZES:
            seconds = _step_seconds(network, size, device, amp=amp)
            space = RonasSpace((size,) * 3)
            macs = step_macs(space, channels=CHANNELS, in_channels=1, out_channels=2, crops=2)
            measured.append((macs, seconds))
            if time.perf_counter() - begin + 8 * 3 * seconds > patience and (len(measured) > 1 or seconds > patience):
                break
    (few, short), (many, long) = measured[0], measured[-1]
    slope = max(long - short, 0.1 * long) / (many - few) if many > few else long / many
    speed = Speed(slope, max(short - slope * few, 0.0))
    logger.info("speed: %.0f GFLOP/s in training, %.3f s beside it in a step", 6e-9 / slope, speed.seconds_per_step)
    return speed


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

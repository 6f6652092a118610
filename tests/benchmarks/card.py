# SPDX-License-Identifier: Apache-2.0
"""The paper's card: the Heart's volumes on 10.8 GB at the paper's channel widths.

    python -m tests.benchmarks.card --output card.json [--device cuda:0]

Tells what of the space fits by the estimator, and what its largest and its base network need. On a CUDA device the
process is limited to the same memory, both are trained for some steps and score a volume of the Heart's largest depth;
what they took is told beside the estimate, and the days that the paper's 150 episodes of 20 children would take at 3
epochs of 16 cases an episode.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import Architecture, RonasSpace
from tests.measured_memory import layout, peak_bytes, training_peak

SHAPE, DEEPEST = (320, 320, 115), (320, 320, 130)
EPISODES, CHILDREN, EPOCHS, CASES, SCORED = 150, 20, 3, 16, 4
_GIB = 2**30


def measured(
    costs: ResourceEstimator,
    space: RonasSpace,
    child: Architecture,
    device: str | torch.device,
    *,
    deepest: Sequence[int] = DEEPEST,
) -> dict[str, Any]:
    """Peak memory in GiB and seconds of a training step and of scoring the deepest volume."""
    widths = {"channels": costs.channels, "in_channels": costs.in_channels, "out_channels": costs.out_channels}
    begin = time.perf_counter()
    peak = training_peak(space, child, 1, widths, amp=costs.amp, device=device)
    row: dict[str, Any] = {"training_gb": peak / _GIB, "step_seconds": (time.perf_counter() - begin) / 2}
    network = RonasSuperNet(space, 1, costs.out_channels, channels=costs.channels).eval()
    network = network.to(device, memory_format=layout(space))
    network.select(child)
    limit = costs.one_shot_voxels(costs.memory_gb or 0, amp=costs.amp)
    inferer = PadToStrideInferer(amp=costs.amp, max_voxels=limit, roi_size=space.patch(space.base))

    def score() -> None:
        with torch.no_grad():
            inferer(torch.randn(1, 1, *deepest, device=device), network).cpu()

    weights = sum(weight.nbytes for weight in network.parameters())
    begin = time.perf_counter()
    peak = peak_bytes(score, device)
    return row | {"scoring_gb": (weights + peak) / _GIB, "score_seconds": time.perf_counter() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory_gb", type=float, default=10.8)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    whole = RonasSpace(SHAPE)
    costs = ResourceEstimator(
        whole,
        channels=given.channels,
        in_channels=1,
        out_channels=2,
        amp=True,
        memory_gb=given.memory_gb,
    )
    space = costs.limited_space()
    draw = random.Random(0)
    report: dict[str, Any] = {
        "share of the space that fits": sum(costs.fits(whole.sample(draw)) for _ in range(1000)) / 1000,
        "highest estimate of 1000 children, GB": max(
            costs.training_bytes(space.sample(draw), crops=1) / _GIB for _ in range(1000)
        ),
        "voxels in one shot, share of the deepest volume": costs.one_shot_voxels(given.memory_gb, amp=True)
        / (DEEPEST[0] * DEEPEST[1] * DEEPEST[2]),
        "the base network on the deepest volume in one shot, GB, estimated": (
            costs.inference_bytes(space.base, DEEPEST, amp=True) + costs.supernet_bytes()
        )
        / _GIB,
    }
    for name, child in (("base", space.base), ("largest", space.largest)):
        report[f"{name} patch"] = space.patch(child)
        report[f"{name} training, GB, estimated"] = costs.training_bytes(child, crops=1) / _GIB
        if torch.device(given.device).type == "cuda":
            total = torch.cuda.get_device_properties(given.device).total_memory
            torch.cuda.set_per_process_memory_fraction(given.memory_gb * _GIB / total, given.device)
            row = measured(costs, space, child, given.device)
            report |= {f"{name} {key}, measured": value for key, value in row.items()}
            episode = EPOCHS * CASES * row["step_seconds"] + 3 * CHILDREN * SCORED * row["score_seconds"]
            report[f"{name} days for {EPISODES} episodes"] = EPISODES * episode / 86400
    for name, value in report.items():
        print(f"{name:>50} {value:.3g}" if isinstance(value, float) else f"{name:>50} {value}")
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Estimated against measured peak memory of training, over random architectures, patches and batches.

    python -m tests.benchmarks.memory --number 40 --output memory.json

On a CPU by counting the bytes of live tensors, on a CUDA device by ``max_memory_allocated``. Prints a table and the
median and extreme errors and the number of architectures that are estimated in a second, and writes them as JSON.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path

from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import PATCH_RATIO, RonasSpace
from tests.measured_memory import training_peak

SHAPES = [(48, 48, 32), (64, 48, 16), (40, 56, 40), (32, 32, 32), (48, 64, 24)]
STRIDES = [None, [(2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)], [(2, 2, 1), (2, 2, 1), (2, 2, 2), (1, 1, 1)]]
FLAT = [(3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3)]  # of the last of these strides, which are those of thick slices
CHANNELS = [(8, 16, 32, 64), (16, 32, 64, 128), (6, 12, 24, 48)]


def estimates_per_second(number: int = 2000) -> float:
    """Architectures whose memory, operations and parameters are estimated in a second."""
    space = RonasSpace((128, 128, 96))
    costs = ResourceEstimator(space, channels=(16, 32, 64, 128), in_channels=1, out_channels=3)
    architectures = [space.sample(random.Random(seed)) for seed in range(number)]
    start = time.perf_counter()
    for architecture in architectures:
        costs.training_bytes(architecture, crops=2)
        costs.macs(architecture)
        costs.parameters(architecture)
    return number / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=int, default=1, help="factor of the volumes' size along each axis")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    rows = []
    print(f"{'shape':>14} {'patch':>14} {'crops':>5} {'bf16':>5} {'estimated MB':>13} {'measured MB':>12} {'error':>7}")
    for number in range(given.number):
        shape, strides = [given.scale * size for size in draw.choice(SHAPES)], draw.choice(STRIDES)
        space = RonasSpace(
            shape,
            strides=strides,
            kernel_sizes=FLAT if strides == STRIDES[-1] else None,
            searched_strides=(1, 2, 3, 4),
            patch_ratio=PATCH_RATIO,
            widths=(0.5, 1.0, 1.5),
        )
        widths = {
            "channels": draw.choice(CHANNELS),
            "in_channels": draw.choice([1, 2, 4]),
            "out_channels": draw.choice([2, 4, 14, 64]),
        }
        crops, amp, architecture = draw.choice([1, 2, 4]), bool(number % 2), space.sample(draw)
        estimated = ResourceEstimator(space, **widths, amp=amp).training_bytes(architecture, crops=crops)
        measured = training_peak(space, architecture, crops, widths, amp=amp, device=given.device)
        row = {
            "shape": "x".join(map(str, space.shape)),
            "patch": "x".join(map(str, space.patch(architecture))),
            "crops": crops,
            "bf16": amp,
            "kernels": space.kernel_sizes,
            "estimated": estimated,
            "measured": measured,
            "error": estimated / measured - 1,
        }
        rows.append({**row, **widths, "architecture": architecture.to_dict()})
        print(
            f"{row['shape']:>14} {row['patch']:>14} {crops:>5} {amp!s:>5} {estimated / 2**20:>13.1f} "
            f"{measured / 2**20:>12.1f} {row['error']:>+7.1%}"
        )
    errors = [row["error"] for row in rows]
    summary = {"median": statistics.median(map(abs, errors)), "lowest": min(errors), "highest": max(errors)}
    print(", ".join(f"{name} error {value:+.1%}" for name, value in summary.items()))
    summary["estimates per second"] = estimates_per_second()
    print(f"{summary['estimates per second']:.0f} architectures estimated in a second")
    given.output.write_text(json.dumps({"summary": summary, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

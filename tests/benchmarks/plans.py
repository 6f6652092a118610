# SPDX-License-Identifier: Apache-2.0
"""Plans for the volumes of the ten tasks of the Medical Segmentation Decathlon, by memory and time.

    python -m tests.benchmarks.plans --output plans.json [--device cpu] [--seconds_per_tmac 10]

Nothing is trained: the shapes and spacings are about the medians of the tasks after resampling. Without
``--seconds_per_tmac`` the speed is measured on the device.
"""

import argparse
import json
from pathlib import Path

from monai_ronas.resources import PlanInputs, Speed, measure_speed, plan_for
from monai_ronas.utils import has_fast_bfloat16

TASKS = {  # name: median shape, spacing (mm), channels, classes
    "01 Brain": ((138, 169, 138), (1, 1, 1), 4, 4),
    "02 Heart": ((320, 232, 115), (1.25, 1.25, 1.37), 1, 2),
    "03 Liver": ((512, 512, 482), (0.77, 0.77, 1), 1, 3),
    "04 Hippocampus": ((35, 50, 36), (1, 1, 1), 1, 3),
    "05 Prostate": ((320, 319, 20), (0.62, 0.62, 3.6), 2, 3),
    "06 Lung": ((512, 512, 252), (0.79, 0.79, 1.24), 1, 2),
    "07 Pancreas": ((512, 512, 96), (0.8, 0.8, 2.5), 1, 3),
    "08 Vessel": ((512, 512, 150), (0.8, 0.8, 1.5), 1, 3),
    "09 Spleen": ((512, 512, 187), (0.79, 0.79, 1.6), 1, 2),
    "10 Colon": ((512, 512, 150), (0.78, 0.78, 3), 1, 2),
    "whole body, 64 classes": ((512, 512, 482), (0.98, 0.98, 1.5), 1, 64),
}
MEMORIES = (4, 8, 10.8, 16, 24, 80)
MINUTES = (10, 60, 720)


def main() -> None:
    """Plan, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds_per_tmac", type=float, help="of forward passes in training; default: measured")
    given = parser.parse_args()
    amp = has_fast_bfloat16(given.device)
    if given.seconds_per_tmac is None:
        speed = measure_speed(given.device, amp=amp)
    else:
        speed = Speed(given.seconds_per_tmac * 1e-12, 5e-12 * given.seconds_per_tmac, 0.05)
    rows = []
    print(f"{'task':>22} {'GB':>5} {'min':>4} {'steps':>8} {'stem':>6} {'patch':>12} {'channels':>24} crops")
    for task, (shape, spacing, in_channels, out_channels) in TASKS.items():
        for memory in MEMORIES:
            for minutes in MINUTES:
                inputs = PlanInputs(
                    shape,
                    spacing,
                    in_channels,
                    out_channels,
                    memory_gb=memory,
                    time_budget=60.0 * minutes,
                    amp=amp,
                )
                plan = plan_for(inputs, speed)
                rows.append({"task": task, "memory_gb": memory, "minutes": minutes, **plan.to_dict()})
                stem, patch = ("x".join(map(str, sizes)) for sizes in (plan.strides[0], plan.patch))
                channels = ",".join(map(str, plan.channels))
                print(
                    f"{task:>22} {memory:>5} {minutes:>4} {plan.steps:>8} {stem:>6} {patch:>12} {channels:>24} "
                    f"{plan.batch_size:>5}"
                )
    given.output.write_text(json.dumps({"speed": vars(speed), "plans": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""One training step of our base network against DynUNet of the same channels, levels, patch, batch and precision.

    python -m tests.benchmarks.step --output step.json

Steps of the two take turns; prints the medians and our ratios to DynUNet in time and in peak memory of tensors, and
writes them as JSON.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from monai_ronas.networks.nets import RonasUNet
from monai_ronas.utils import half_type, has_fast_bfloat16, keep_freed_memory
from tests.benchmarks.peers import dynunet
from tests.measured_memory import peak_bytes


class Trainee:
    """A network with its optimiser, and a step of its training."""

    def __init__(self, network, *, device, amp, layout=torch.channels_last_3d):
        self.network = network.to(device, memory_format=layout).train()
        self.optimizer = torch.optim.AdamW(network.parameters())
        self.loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, batch=True))
        self.device, self.amp = torch.device(device), amp

    def step(self, image, label):
        """Forward, backward, update."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=half_type(self.device), enabled=self.amp):
            levels = self.network(image)
        levels = [levels] if isinstance(levels, torch.Tensor) else levels
        self.loss([level.float() for level in levels], label).backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, image, label):
        """Duration of a step."""
        start = time.perf_counter()
        self.step(image, label)
        return time.perf_counter() - start

    def peak(self, image, label):
        """Most bytes alive in a step, beside what was alive before it."""
        return peak_bytes(lambda: self.step(image, label), self.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=int, nargs=3, default=[40, 56, 40])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    image = torch.randn(given.batch_size, 1, *given.patch, device=given.device)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    label = torch.randint(0, 3, (given.batch_size, 1, *given.patch), device=given.device).float()
    report = {}
    for amp in (False, True) if has_fast_bfloat16(given.device) else (False,):
        trainees = {
            "RonasUNet": Trainee(RonasUNet(3, 1, 3), device=given.device, amp=amp),
            "DynUNet": Trainee(dynunet(1, 3), device=given.device, amp=amp),
        }
        for trainee in trainees.values():
            for _ in range(3):
                trainee.step(image, label)
        times = {name: [] for name in trainees}
        for _ in range(given.repeats):
            for name, trainee in trainees.items():
                times[name].append(trainee.seconds(image, label))
        seconds = {name: statistics.median(values) for name, values in times.items()}
        peaks = {name: trainee.peak(image, label) for name, trainee in trainees.items()}
        ratios = {
            key: values["RonasUNet"] / values["DynUNet"] for key, values in (("time", seconds), ("memory", peaks))
        }
        precision = "bfloat16" if amp else "float32"
        report[precision] = {"seconds": seconds, "peak_bytes": peaks, "ratios": ratios}
        for name in trainees:
            print(f"{precision:>8} {name:>10} {seconds[name]:8.3f} s {peaks[name] / 2**20:9.1f} MB")
        print(f"{precision:>8} {'ratio':>10} {ratios['time']:8.2f}   {ratios['memory']:9.2f}")
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""An iteration of our search against one of DiNTS', at the same patch, batch and precision.

    python -m tests.benchmarks.dints --output dints.json

DiNTS as in MONAI's tutorial: 12 blocks, 4 depths, ``channel_mul`` 0.5; an iteration is a step of the weights and a step
of the architecture's parameters, in each of which the others are frozen. The widths are the tutorial's and our
defaults, which makes DiNTS the far larger network; the parameters are told. Ours: a training step of a random child on
the supernet, scoring it on a volume of the patch's size, and a child's share of the controller's update, 20 children to
an episode. Prints medians and peak memory of tensors, and writes them as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets import DiNTS, TopologySearch

from monai_ronas.controllers import make_controller
from monai_ronas.losses import ReinforceLoss
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace
from monai_ronas.utils import keep_freed_memory
from tests.benchmarks.step import Trainee


def dints(device: str, classes: int) -> tuple[Trainee, Trainee]:
    """Trainees of DiNTS' weights and of its architecture's parameters."""
    space = TopologySearch(channel_mul=0.5, num_blocks=12, num_depths=4, use_downsample=True, device=device)
    network = DiNTS(space, in_channels=1, num_classes=classes, use_downsample=True)
    trainees = Trainee(network, device=device, amp=False), Trainee(network, device=device, amp=False)
    choices = [space.log_alpha_a, space.log_alpha_c]
    kept = {id(choice) for choice in choices}
    trainees[0].optimizer = torch.optim.SGD([p for p in network.parameters() if id(p) not in kept], 0.025, momentum=0.9)
    trainees[1].optimizer = torch.optim.Adam(choices, 0.01)
    return trainees


def alone(trained: Trainee, frozen: Trainee) -> None:
    """Let gradients be for the one's parameters only."""
    for trainee, wanted in ((trained, True), (frozen, False)):
        for group in trainee.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(wanted)
                parameter.grad = None


def median_seconds(action: Callable[[], object], repeats: int, device: str) -> float:
    """Median duration of ``action`` after one run that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 64])
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    image = torch.randn(given.batch_size, 1, *given.patch, device=given.device)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    label = torch.randint(0, 3, (given.batch_size, 1, *given.patch), device=given.device).float()

    space = RonasSpace(given.patch, overrides={"patch_hw": [given.patch[:2]], "patch_d": [given.patch[2]]})
    supernet = RonasSuperNet(space, 1, 3)
    ours = Trainee(supernet, device=given.device, amp=False)
    draw = random.Random(0)
    children = itertools.cycle([space.sample(draw) for _ in range(given.repeats)])
    controller = make_controller("reinforce", space, seed=0)
    optimizer = torch.optim.Adam(controller.parameters())

    def train_child():
        supernet.select(next(children))
        ours.step(image, label)

    def score_child():
        supernet.eval()
        with torch.no_grad():
            supernet(image)
        supernet.train()

    def update():
        indices = controller.sample(20, torch.Generator().manual_seed(0))
        log_prob, entropy = controller.evaluate(indices)
        optimizer.zero_grad()
        ReinforceLoss()(log_prob, entropy, torch.randn(20)).backward()
        optimizer.step()

    def measured(**actions: Callable[[], object]) -> dict[str, float]:
        return {name: median_seconds(action, given.repeats, given.device) for name, action in actions.items()}

    report: dict[str, dict[str, float]] = {"ours": measured(train=train_child, score=score_child, update=update)}
    report["ours"]["update"] /= 20
    supernet.select(space.largest)
    report["ours"]["peak_bytes"] = ours.peak(image, label)
    report["ours"]["parameters"] = sum(p.numel() for p in supernet.parameters())
    weights, choices = dints(given.device, 3)
    alone(weights, choices)
    report["DiNTS"] = measured(weights=lambda: weights.step(image, label))
    report["DiNTS"]["peak_bytes"] = weights.peak(image, label)
    alone(choices, weights)
    report["DiNTS"] |= measured(architecture=lambda: choices.step(image, label))
    report["DiNTS"]["parameters"] = sum(p.numel() for p in weights.network.parameters())
    for name, row in report.items():
        row["seconds"] = sum(value for key, value in row.items() if key not in ("peak_bytes", "parameters"))
        print(name, {key: round(value, 4) for key, value in row.items()})
    for key in ("seconds", "peak_bytes"):
        print(f"DiNTS / ours, {key}: {report['DiNTS'][key] / report['ours'][key]:.1f}")
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

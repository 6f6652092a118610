# SPDX-License-Identifier: Apache-2.0
"""A network made by hand, trained for some minutes on a search's own split, crops, loss and precision.

    python -m tests.benchmarks.hand_made --dataset_dir DATA --minutes 12 --output_dir OUT

DynUNet in nnU-Net's plan at half width (16 to 128 channels), AdamW at 1e-3 with a cosine over the elapsed time. It
trains on the cases that the search trains on and is measured once, with its last weights, on the held-out fold. Writes
``hand_made.json`` with the Dice of every case. ``--steps`` trains for a number of steps instead, where a quiet machine
is not to be had: take the steps that a short run tells for the time.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SimpleInferer
from monai.networks.nets import DynUNet
from torch.utils.data import DataLoader

from monai_ronas.data import build_dataset

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"


def dynunet(in_channels: int, out_channels: int) -> DynUNet:
    """nnU-Net's plan for small volumes: four stages, 3x3x3 convolutions, deep supervision."""
    return DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * 4,
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2] * 3,
        filters=[16, 32, 64, 128],
        deep_supervision=True,
        deep_supr_num=2,
    )


class Autocast(SimpleInferer):
    """bfloat16 on any device."""

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(self, inputs, network, *args, **kwargs):
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return super().__call__(inputs, network, *args, **kwargs)


def train(
    workflow: ConfigWorkflow, network: torch.nn.Module, *, seconds: float, steps: int | None, learning_rate: float
) -> int:
    """Train ``network`` for ``seconds`` or ``steps``; returns the number of steps."""
    content = workflow.parser.get_parsed_content
    shared = content("loss")

    def loss(prediction: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return shared([level.float() for level in prediction.unbind(dim=1)], label)

    start = time.perf_counter()
    trainer = SupervisedTrainer(
        device=content("device"),
        max_epochs=10**6,
        train_data_loader=content("train#dataloader"),
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=learning_rate),
        loss_function=loss,
        prepare_batch=content("train#prepare_batch"),
        inferer=Autocast(content("amp")),
        decollate=False,
        optim_set_to_none=True,
    )

    @trainer.on(Events.ITERATION_STARTED)
    def schedule(engine):
        progress = engine.state.iteration / steps if steps else (time.perf_counter() - start) / seconds
        ramp = min(1.0, engine.state.iteration / 50)
        for group in trainer.optimizer.param_groups:
            group["lr"] = learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        if progress >= 1.0:
            engine.terminate()

    trainer.run()
    return trainer.state.iteration


def score(workflow: ConfigWorkflow, network: torch.nn.Module) -> torch.Tensor:
    """Dice of every test case and class, by the search's own evaluator settings."""
    content = workflow.parser.get_parsed_content
    study = content("study")
    data = build_dataset(study.cases("test"), content("validate#preprocessing"))
    inferer = content("validate#inferer")
    inferer.divisor = (8, 8, 8)
    evaluator = SupervisedEvaluator(
        device=content("device"),
        val_data_loader=DataLoader(data, batch_size=1),
        network=network,
        inferer=inferer,
        postprocessing=content("validate#postprocessing"),
        key_val_metric=content("validate#key_metric"),
    )
    evaluator.run()
    return evaluator.state.metric_details["val_mean_dice"]


def main() -> None:
    """Train, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    output = Path(arguments.output_dir)
    workflow = ConfigWorkflow(
        str(SEARCH), dataset_dir=arguments.dataset_dir, output_dir=str(output), seed=arguments.seed, slice_steps=35
    )
    workflow.initialize()
    content = workflow.parser.get_parsed_content
    content("train#dataset")
    fingerprint = content("study").fingerprint
    network = dynunet(fingerprint.in_channels, fingerprint.out_channels)
    network = network.to(content("device"), memory_format=torch.channels_last_3d)
    began = time.perf_counter()
    length = {"seconds": 60 * arguments.minutes, "steps": arguments.steps}
    steps = train(workflow, network, **length, learning_rate=arguments.learning_rate)
    minutes = (time.perf_counter() - began) / 60
    dice = score(workflow, network).nanmean(dim=1)
    names = [case.name for case in content("study").cases("test")]
    row = {
        "network": "DynUNet 16-128",
        "parameters": sum(p.numel() for p in network.parameters()),
        "minutes": minutes,
        "learning_rate": arguments.learning_rate,
        "steps": steps,
        "mean_dice": float(dice.mean()),
        "standard_error": float(dice.std() / len(dice) ** 0.5),
        "per_case": dict(zip(names, dice.tolist(), strict=True)),
    }
    (output / "hand_made.json").write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
    print({k: v for k, v in row.items() if k != "per_case"})


if __name__ == "__main__":
    main()

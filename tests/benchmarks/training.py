# SPDX-License-Identifier: Apache-2.0
"""How a contender of a comparison is trained, and how it is measured: the same for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch.utils.data import DataLoader

from monai_ronas.data import build_dataset
from monai_ronas.networks import PadToStrideInferer
from tests.benchmarks.curves import LearningCurve
from tests.benchmarks.peers import cosine


def train(
    content: Any,
    network: torch.nn.Module,
    inferer: PadToStrideInferer,
    *,
    minutes: float,
    steps: int | None,
    optimizer: torch.optim.Optimizer,
    schedule: Callable[[float], float] = cosine,
    curve: LearningCurve | None = None,
) -> int:
    """Train ``network`` for ``steps``, or until the process is ``minutes`` old; returns the number of steps.

    The scores of ``curve`` do not count as time; after the last of them the reward cases are trained on as well.
    """
    start = psutil.Process().create_time()
    rates = [group["lr"] for group in optimizer.param_groups]
    trainer = SupervisedTrainer(
        device=content("device"),
        max_epochs=10**6,
        train_data_loader=content("train#dataloader"),
        network=network,
        optimizer=optimizer,
        loss_function=content("loss"),
        prepare_batch=content("train#prepare_batch"),
        inferer=inferer,
        decollate=False,
        optim_set_to_none=True,
    )

    def progress(done: int) -> float:
        paused = 0.0 if curve is None else curve.paused
        return min(1.0, done / steps if steps else (time.time() - start - paused) / (60 * minutes))

    @trainer.on(Events.ITERATION_STARTED)
    def set_rates(engine):
        ramp = min(1.0, engine.state.iteration / 50)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * ramp * schedule(progress(engine.state.iteration - 1))

    @trainer.on(Events.ITERATION_COMPLETED)
    def score_on_the_way(engine):
        if curve is not None and not curve.is_over:
            curve.update(progress(engine.state.iteration))
            if curve.is_over:
                draw_from_all(content)

    @trainer.on(Events.ITERATION_COMPLETED)
    def end(engine):
        if progress(engine.state.iteration) >= 1.0:
            engine.terminate()

    trainer.run()
    return int(trainer.state.iteration)


def draw_from_all(content: Any) -> None:
    """Train on the reward cases as well."""
    content("train#dataloader").sampler.data_source = content("train#dataset")


def score(content: Any, network: torch.nn.Module, inferer: PadToStrideInferer, cases: str = "test") -> dict[str, Any]:
    """Dice of every case and class, by the search's own evaluator settings, and the seconds for a volume."""
    listed = content("study").cases(cases)
    data = build_dataset(listed, content("validate#preprocessing"), cache_dir=content("cache_dir"))
    evaluator = SupervisedEvaluator(
        device=content("device"),
        val_data_loader=DataLoader(data, batch_size=1),
        network=network,
        inferer=inferer,
        postprocessing=content("validate#postprocessing"),
        key_val_metric=content("validate#key_metric"),
    )
    seconds: list[float] = []
    evaluator.add_event_handler(Events.ITERATION_STARTED, lambda: seconds.append(-time.perf_counter()))
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: seconds.append(time.perf_counter()))
    evaluator.run()
    dice = evaluator.state.metric_details["val_mean_dice"]
    return {
        "seconds_per_volume": statistics.median(a + b for a, b in zip(seconds[::2], seconds[1::2], strict=True)),
        "mean_dice": float(dice.nanmean()),
        "class_dice": dice.nanmean(dim=0).tolist(),
        "per_case": dict(zip((case.name for case in listed), dice.nanmean(dim=1).tolist(), strict=True)),
    }

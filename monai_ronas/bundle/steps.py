# SPDX-License-Identifier: Apache-2.0
"""What the configurations of the bundles call."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset

from monai_ronas.bundle.settings import Settings
from monai_ronas.data import Study
from monai_ronas.errors import SettingError
from monai_ronas.losses import WeightedProduct
from monai_ronas.resources import PlanInputs, ResourceEstimator, measure_speed, plan_search
from monai_ronas.space import Plan
from monai_ronas.utils import TimeBudget

logger = logging.getLogger(__name__)
AUGMENT_PASSES = 100
"""How often a training case must be seen for augmentation to pay (``bundles/ronas/docs/experiments.md``)."""


def make_objective(cost: str | None, resources: ResourceEstimator, *, exponent: float) -> WeightedProduct | None:
    """What the controller maximises.

    Args:
        cost: None, ``"null"`` or ``"none"`` for the Dice alone; ``"latency"`` for the time that scoring took; else a
            name that :meth:`ResourceEstimator.cost` knows.
        resources: costs of the architectures.
        exponent: exponent of the cost.

    Returns:
        None for the Dice alone.

    Raises:
        SettingError: when the cost is unknown or the exponent positive.
    """
    if cost is None or str(cost).lower() in ("null", "none"):
        return None
    if cost == "latency":
        return WeightedProduct(lambda score, architecture: score.seconds, exponent=exponent)
    of = resources.cost(cost)
    return WeightedProduct(
        lambda score, architecture: of(architecture), reference=of(resources.space.base), exponent=exponent
    )


def plan_study(
    study: Study,
    output_dir: str | os.PathLike[str],
    budget: TimeBudget,
    device: str | torch.device,
    *,
    memory_gb: float,
    amp: bool = False,
    channels: Sequence[int] | None = None,
    batch_size: int = 2,
    resume: bool = True,
) -> Plan:
    """Plan a search from the data's fingerprint, the budgets and the measured speed of the device.

    Args:
        study: the data.
        output_dir: the folder of the search; the plan is written into its ``dataset_report.json``.
        budget: the time; what follows is noted there as spent on the plan.
        device: where the search runs. Its speed is measured where there is a limit of time.
        memory_gb: memory in GiB for training and scoring.
        amp: training in bfloat16.
        channels: of the stages. Default: planned.
        batch_size: crops in a batch.
        resume: take an earlier plan for the same inputs.

    Raises:
        SettingError: when nothing fits into the memory.
    """
    budget.enter("plan")
    facts = study.fingerprint
    inputs = PlanInputs(
        facts.median_shape,
        facts.target_spacing,
        facts.in_channels,
        facts.out_channels,
        memory_gb=memory_gb,
        time_budget=budget.seconds,
        amp=amp,
        channels=None if channels is None else tuple(channels),
        batch_size=batch_size,
        device=torch.device(device).type,
        ignore=facts.ignore_label is not None,
    )
    measure = partial(measure_speed, device, amp=amp)
    return plan_search(inputs, measure, budget.elapsed, Path(output_dir) / "dataset_report.json", resume=resume)


def needs_augmentation(settings: Settings, plan: Plan, study: Study) -> bool:
    """Whether training crops are augmented beyond flips.

    Args:
        settings: of the search. Where its ``augment`` is None there is a rule: crops are augmented where the steps of
            the plan, in a single process, show each case of the final training more than :data:`AUGMENT_PASSES` times.
        plan: the plan of the base network. Where it does not know its steps, as without a time, the rule says no.
        study: the data.

    Returns:
        whether they are; the same again for a search that is resumed, which keeps its plan.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> plan, split = Some(steps=2000, batch_size=2), Some(train=["a"] * 15, reward=["b"] * 5)
        >>> needs_augmentation(Settings(), plan, Some(split=split))
        True
    """
    if settings.augment is not None or plan.steps is None:
        return bool(settings.augment)
    cases = len(study.split.train) + (len(study.split.reward) if settings.final_on_reward_cases else 0)
    passes = plan.steps * plan.batch_size / cases
    if passes > AUGMENT_PASSES:
        logger.info("crops are augmented: the plan shows each case about %.0f times", passes)
    return passes > AUGMENT_PASSES


def new_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that exists.

    Raises:
        SettingError: when it does.
    """
    if Path(path).exists():
        raise SettingError(f"export_dir '{path}' exists: give the other bundle a folder of its own with --export_dir.")


def require_weights(path: str | os.PathLike[str]) -> None:
    """See that the weights of a bundle are there.

    Args:
        path: their file.

    Raises:
        SettingError: when it is not there.
    """
    if not Path(path).is_file():
        raise SettingError(
            f"there is no '{path}', the weights of the bundle: give the bundle's folder with --bundle_root, or restore "
            "the file."
        )


def validation_dataset(
    data: Sequence[Mapping[str, Any]], otherwise: Sequence[Mapping[str, Any]], transform: Callable[..., Any]
) -> CacheDataset:
    """The cases that decide whether new weights are better.

    Args:
        data: validation cases, may be empty.
        otherwise: cases that take their place where there are none, because weights without a score are never saved.
        transform: preprocessing.

    Returns:
        the cases, preprocessed once.
    """
    if not data:
        logger.warning("no validation cases: the %d training cases decide which weights are kept", len(otherwise))
    return CacheDataset(data=list(data or otherwise), transform=transform, progress=False)

# SPDX-License-Identifier: Apache-2.0
"""What the configurations of the bundles call."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import CacheDataset

from monai_ronas.errors import SettingError
from monai_ronas.losses import WeightedProduct
from monai_ronas.resources import ResourceEstimator

logger = logging.getLogger(__name__)


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


def new_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that exists.

    Raises:
        SettingError: when it does.
    """
    if Path(path).exists():
        raise SettingError(f"export_dir '{path}' exists: give the other bundle a folder of its own with --export_dir.")


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

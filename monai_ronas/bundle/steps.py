# SPDX-License-Identifier: Apache-2.0
"""What the configurations of the bundles call."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.data import CacheDataset

from monai_ronas.data import DatasetError, MSDDataset, read_msd
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
    if cost is None or cost.lower() in ("null", "none"):
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


def evaluation_cases(
    dataset_dir: str | os.PathLike[str], split_file: str | os.PathLike[str], use: str = "unseen"
) -> list[dict[str, str]]:
    """Labelled cases of a data set that a bundle may be judged on.

    Cases go by their names: one of another data set that bears the name of a case of training or reward is left out as
    well. How many are left out is logged.

    Args:
        dataset_dir: folder in the layout of the Medical Segmentation Decathlon.
        split_file: the bundle's ``data_split.json``, with the names of the cases by use.
        use: ``"unseen"`` for all cases that neither training nor reward saw (the search's test fold, or any case of
            another data set), ``"all"``, or a use of the split file.

    Returns:
        dictionaries with the paths ``image`` and ``label``.

    Raises:
        DatasetError: when no case is left.
        SettingError: when ``use`` is unknown.
    """
    split = _read_split(split_file)
    allowed = ("unseen", "all", *split)
    if use not in allowed:
        raise SettingError(f"evaluation_use must be one of {allowed}, got {use!r}.")
    seen = set(split["train"]) | set(split["reward"])
    dataset = _without_skipped(dataset_dir, split)
    cases = [
        c for c in dataset.cases if use == "all" or (c.name not in seen if use == "unseen" else c.name in split[use])
    ]
    logger.info("evaluation_use=%s: %d of the %d cases of %s", use, len(cases), len(dataset.cases), dataset.name)
    if not cases:
        raise DatasetError(
            f"'{dataset_dir}' holds no case for evaluation_use={use}: training or reward saw all of them, "
            "so search with a fold, or give other data."
        )
    return [{"image": str(c.image), "label": str(c.label)} for c in cases]


def training_cases(
    dataset_dir: str | os.PathLike[str], split_file: str | os.PathLike[str]
) -> dict[str, list[dict[str, str]]]:
    """Labelled cases to train a bundle on and to validate it with.

    On the search's own data set these are the search's training and reward cases; the test cases stay unseen. Another
    data set is split, every fifth case for validation.

    Args:
        dataset_dir: folder in the layout of the Medical Segmentation Decathlon.
        split_file: the bundle's ``data_split.json``.

    Returns:
        lists of dictionaries with the paths ``image`` and ``label`` under ``train`` and ``validate``.

    Raises:
        DatasetError: when there is not at least one case for each.
    """
    split = _read_split(split_file)
    cases = _without_skipped(dataset_dir, split).cases
    uses = {"train": set(split["train"]), "validate": set(split["reward"])}
    own = any(c.name in names for c in cases for names in uses.values())
    if not own:
        names = sorted(c.name for c in cases)
        uses = {"validate": set(names[::5]), "train": set(names) - set(names[::5])}
    chosen = {
        use: [{"image": str(c.image), "label": str(c.label)} for c in cases if c.name in names]
        for use, names in uses.items()
    }
    if not all(chosen.values()):
        raise DatasetError(
            f"'{dataset_dir}' has {len(chosen['train'])} case(s) for training and {len(chosen['validate'])} for "
            "validation, but both are needed: add cases."
        )
    if own and uses["validate"] & set(split.get("final", ())):
        logger.warning(
            "the search's final training had the validation cases as well, so its weights are hard to beat on them; "
            "a search with --final_on_reward_cases false keeps them apart"
        )
    logger.info(
        "%d cases for training and %d for validation, %s",
        *(len(chosen[use]) for use in ("train", "validate")),
        "the search's own" if own else "split anew: the search had none of their names",
    )
    return chosen


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


def _without_skipped(dataset_dir: str | os.PathLike[str], split: Mapping[str, Sequence[str]]) -> MSDDataset:
    """The data set without the cases that the search left out for their faults."""
    skipped = set(split.get("skipped", ()))
    dataset = read_msd(dataset_dir, strict=not skipped)
    return replace(dataset, cases=tuple(c for c in dataset.cases if c.name not in skipped))


def _read_split(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    content: dict[str, list[str]] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content

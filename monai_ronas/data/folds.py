# SPDX-License-Identifier: Apache-2.0
"""Splits of the cases for training, reward and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from monai.data.utils import partition_dataset

from monai_ronas.data.errors import DatasetError


@dataclass(frozen=True)
class Split:
    """Case names by use, disjoint and each sorted.

    Attributes:
        train: cases on which the shared weights are trained.
        reward: cases on which children are scored.
        test: cases that the search never sees.
        skipped: cases left out for their faults.
    """

    train: tuple[str, ...]
    reward: tuple[str, ...]
    test: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[str]]:
        """Return the split as JSON-able lists."""
        return {use: list(names) for use, names in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Sequence[str]]) -> Split:
        """Make a split from what :meth:`to_dict` returned.

        Args:
            content: lists of names under ``train``, ``reward``, ``test`` and, where there are any, ``skipped``.

        Returns:
            The split.
        """
        return cls(**{use: tuple(names) for use, names in content.items()})


def split_cases(names: Sequence[str], *, fold: int | None, num_folds: int, reward_fraction: float, seed: int) -> Split:
    """Split case names, deterministically in the sorted names and the seed.

    The folds depend on ``num_folds`` and ``seed`` only. Of the cases outside the test fold, ``reward_fraction``
    (rounded, at least 1, leaving at least 1 for training) is set aside for the reward, in an order that depends on
    the seed alone.

    Args:
        names: case names, in any order, without repetition.
        fold: index of the test fold, 0..num_folds-1, or ``None`` for no test cases.
        num_folds: number of folds.
        reward_fraction: part of the other cases to set aside for the reward, between 0 and 1 exclusive.
        seed: seed of the shuffles.

    Returns:
        The split.

    Raises:
        DatasetError: when an argument is out of range or there are too few cases.
    """
    ordered = sorted(names)
    if len(set(ordered)) != len(ordered):
        raise DatasetError("names holds a case more than once: every case may be listed only once.")
    if not 0 < reward_fraction < 1:
        raise DatasetError(f"reward_fraction must lie between 0 and 1 (exclusive), received {reward_fraction}.")
    test = () if fold is None else _test_fold(ordered, fold=fold, num_folds=num_folds, seed=seed)
    shuffled = partition_dataset(ordered, num_partitions=1, shuffle=True, seed=seed + 1)[0] if ordered else []
    others = [name for name in shuffled if name not in set(test)]
    if len(others) < 2:
        raise DatasetError(
            f"only {len(others)} of {len(ordered)} case(s) remain outside the test fold, but training and reward need"
            " one each: add cases or use more folds."
        )
    count = min(max(1, round(reward_fraction * len(others))), len(others) - 1)
    return Split(train=tuple(sorted(others[count:])), reward=tuple(sorted(others[:count])), test=test)


def _test_fold(ordered: list[str], *, fold: int, num_folds: int, seed: int) -> tuple[str, ...]:
    if num_folds < 2:
        raise DatasetError(f"num_folds must be at least 2, received {num_folds}: use fold null for no test cases.")
    if not isinstance(fold, int) or not 0 <= fold < num_folds:
        raise DatasetError(f"fold must be null or 0..{num_folds - 1} with num_folds {num_folds}, received {fold}.")
    if len(ordered) < num_folds:
        raise DatasetError(f"{len(ordered)} case(s) cannot fill num_folds {num_folds}: lower num_folds or add cases.")
    folds = partition_dataset(ordered, num_partitions=num_folds, shuffle=True, seed=seed)
    return tuple(sorted(folds[fold]))

# SPDX-License-Identifier: Apache-2.0
"""Splits of the cases for training, reward and test."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from monai.data.utils import partition_dataset

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.reward_cases import choose_reward_cases, reward_count


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


def split_cases(
    names: Sequence[str],
    *,
    fold: int | None,
    num_folds: int,
    reward_fraction: float,
    seed: int,
    groups: Mapping[str, str] | None = None,
    classes: Mapping[str, Collection[int]] | None = None,
    test: Collection[str] | None = None,
) -> Split:
    """Split case names, deterministically in the sorted names, the seed and the mappings.

    The folds depend on the names, their groups, ``num_folds`` and ``seed`` only. Of the cases outside the test fold,
    ``reward_fraction`` (rounded) is set aside for the reward, in an order that depends on the seed alone: at least 8,
    unless these were more than a third, and leaving at least one for training. Where the classes are known, reward
    cases are taken of those with foreground and have each class that a tenth of the cases have, and every class stays
    in training, where possible: see :func:`~monai_ronas.data.reward_cases.choose_reward_cases`.

    Args:
        names: case names, in any order, without repetition.
        fold: index of the test fold, 0..num_folds-1, or ``None`` for no test cases.
        num_folds: number of folds.
        reward_fraction: part of the other cases to set aside for the reward, between 0 and 1 exclusive.
        seed: seed of the shuffles.
        groups: the group of each case; the cases of a group have the same use. Default: each case is its own.
        classes: foreground classes of each case, as far as they are known.
        test: the test cases, in place of those of ``fold`` and ``num_folds``.

    Returns:
        The split.

    Raises:
        DatasetError: when an argument is out of range or there are too few cases.

    Example:
        >>> names = [f"case_{n:02d}" for n in range(10)]
        >>> split = split_cases(names, fold=0, num_folds=5, reward_fraction=0.15, seed=0)
        >>> len(split.train), len(split.reward), len(split.test)
        (6, 2, 2)
    """
    ordered = sorted(names)
    if len(set(ordered)) != len(ordered):
        raise DatasetError("names holds a case more than once: every case may be listed only once.")
    if not 0 < reward_fraction < 1:
        raise DatasetError(f"reward_fraction must lie between 0 and 1 (exclusive), received {reward_fraction}.")
    units: dict[str, list[str]] = {}
    for name in ordered:
        units.setdefault(name if groups is None else groups[name], []).append(name)
    unit = "case(s)" if groups is None else "group(s) of cases"
    keys = sorted(units)
    if test is None:
        held = set() if fold is None else _test_fold(keys, fold=fold, num_folds=num_folds, seed=seed, unit=unit)
    else:
        held = {key for key in keys if set(units[key]) & set(test)}
        parted = sorted(key for key in held if set(units[key]) - set(test))
        if parted:
            raise DatasetError(
                f"{len(parted)} group(s) have cases both in train and in val, the first '{parted[0]}': correct"
                " splits_file, or group, so that all cases of a patient are in one of them."
            )
    shuffled = partition_dataset(keys, num_partitions=1, shuffle=True, seed=seed + 1)[0] if keys else []
    others = [tuple(units[key]) for key in shuffled if key not in held]
    if len(others) < 2:
        raise DatasetError(
            f"only {len(others)} of {len(keys)} {unit} remain outside the test fold, but training and reward need"
            " one each: add cases or use more folds."
        )
    rest = {name for cases in others for name in cases}
    scorable = [name for name in rest if classes is None or classes.get(name)]
    count = reward_count(len(scorable if len(scorable) > 1 else rest), reward_fraction)
    reward = choose_reward_cases(others, count=count, classes=classes)
    return Split(
        train=tuple(sorted(rest - set(reward))),
        reward=reward,
        test=tuple(name for name in ordered if name not in rest),
    )


def _test_fold(keys: list[str], *, fold: int, num_folds: int, seed: int, unit: str) -> set[str]:
    if num_folds < 2:
        raise DatasetError(f"num_folds must be at least 2, received {num_folds}: use fold null for no test cases.")
    if not isinstance(fold, int) or not 0 <= fold < num_folds:
        raise DatasetError(f"fold must be null or 0..{num_folds - 1} with num_folds {num_folds}, received {fold}.")
    if len(keys) < num_folds:
        raise DatasetError(f"{len(keys)} {unit} cannot fill num_folds {num_folds}: lower num_folds or add cases.")
    return set(partition_dataset(keys, num_partitions=num_folds, shuffle=True, seed=seed)[fold])

# SPDX-License-Identifier: Apache-2.0
"""The settings of a search, in the types that they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_ronas.errors import SettingError

_WORDS = {"true": True, "false": False, "null": None, "none": None}
_AT_LEAST_ONE = {"children_per_episode", "batch_size", "reward_cases_per_episode"}
_POSITIVE = {"time_budget_minutes", "memory_budget_gb"}
_EPISODES, _EPISODES_IN_TIME = 8, 150


@dataclass(frozen=True)
class Settings:
    """Settings of a search in the types that they mean.

    MONAI's command line passes ``--resume false`` or ``--fold null`` on as text, and drops an argument whose value is
    ``None``. The words ``true``, ``false``, ``null`` and ``none``, in any case, are therefore taken for what they say.

    Args:
        resume: continue from the last checkpoint.
        amp: compute in bfloat16, or in float16 on CUDA devices that have no bfloat16.
        fold: the test fold, or None for no test cases.
        time_budget_minutes: the time that the whole command may take, or None for no limit.
        memory_budget_gb: memory in GiB that training and scoring may need, or None for no limit.
        seed: of weights, crops, cases and the policy.
        strategy: of the controller.
        episodes: episodes at most. Default: 8, under a time budget 150.
        child_epochs: epochs of training in an episode.
        children_per_episode: candidates in an episode.
        warmup_epochs: epochs before the episodes, where counts rule.
        final_epochs: epochs of the final training, where counts rule.
        warmup_until: share of the time budget at which the warm-up ends.
        search_until: share of the time budget at which the episodes end, or None: 0.12, or none without a race.
        num_folds: number of folds.
        splits_file: file of own folds, or None.
        group: regular expression on case names that tells the patient, or None.
        reward_fraction: part of the cases outside the test fold that are reward cases.
        reward_cases_per_episode: cases on which the candidates of an episode are scored, or None for all.
        final_on_reward_cases: the final training has the reward cases as well.
        skip_invalid: leave cases with faults out instead of refusing the data set.
        resample_label: resample labels that are on another grid than their image.
        channels: of the stages, finest first, or None to plan them.
        batch_size: crops in a batch.
        learning_rate: of the optimiser.
        flip_axes: spatial axes along which crops are flipped, or None: what the data's labels allow.
        augment: training crops are augmented beyond flips, or None: where the plan's time shows each case often.
        test_time_flips: predictions of the trained network are averaged over flips of the volume, and its turns.
        cost: what a candidate costs, or None for its Dice alone.
        cost_exponent: exponent of the cost.
        deterministic: cuDNN takes kernels that repeat themselves to the last bit.

    Raises:
        SettingError: when a value is not of its kind.

    Example:
        >>> Settings(fold="null", time_budget_minutes=60).episodes
        150
        >>> Settings(episodes="abc")
        Traceback (most recent call last):
        ...
        monai_ronas.errors.SettingError: episodes must be a whole number of at least 0 or null, received 'abc'.
    """

    resume: bool = True
    amp: bool = False
    fold: int | None = 0
    time_budget_minutes: float | None = None
    memory_budget_gb: float | None = None
    seed: int = 0
    strategy: str = "reinforce"
    episodes: int | None = None
    child_epochs: float = 1
    children_per_episode: int = 10
    warmup_epochs: float = 3
    final_epochs: float = 45
    warmup_until: float = 0.05
    search_until: float | None = None
    num_folds: int = 5
    splits_file: str | None = None
    group: str | None = None
    reward_fraction: float = 0.15
    reward_cases_per_episode: int | None = 4
    final_on_reward_cases: bool = True
    skip_invalid: bool = False
    resample_label: bool = False
    channels: Sequence[int] | None = None
    batch_size: int = 2
    learning_rate: float = 0.02
    flip_axes: Sequence[int] | None = None
    augment: bool | None = None
    test_time_flips: bool = True
    cost: str | None = None
    cost_exponent: float = -0.07
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name, kind in self.__annotations__.items():
            value, nullable = _meant(getattr(self, name)), kind.endswith(" | None")
            if value is not None or not nullable:
                value = _checked(name, kind.removesuffix(" | None"), value, nullable=nullable)
            object.__setattr__(self, name, value)
        if self.episodes is None:
            object.__setattr__(self, "episodes", _EPISODES if self.time_budget_minutes is None else _EPISODES_IN_TIME)


def _meant(value: Any) -> Any:
    return _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _checked(name: str, kind: str, value: Any, *, nullable: bool) -> Any:
    """A value of a kind, which is that of the annotation."""
    least = int(name in _AT_LEAST_ONE)
    if name == "flip_axes":
        known = isinstance(value, (list, tuple)) and all(type(axis) is int and axis in (0, 1, 2) for axis in value)
        fits, wanted = (
            known and len(set(value)) == len(value),
            "null or a list of axes, each of 0, 1 and 2 at most once",
        )
    elif name == "channels":
        numbers = isinstance(value, (list, tuple)) and all(type(c) is int and c > 0 for c in value)
        fits, wanted = numbers and len(value) > 1, "null or a list of two or more positive numbers"
    elif kind == "bool":
        fits, wanted = isinstance(value, bool), "true, false or null" if nullable else "true or false"
    elif kind == "str":
        fits, wanted = isinstance(value, str), "text or null" if nullable else "text"
    elif name == "fold":
        fits, wanted = type(value) is int, "a whole number or null"
    elif name == "cost_exponent":
        fits, wanted = _is_number(value), "a number"
    elif name in _POSITIVE:
        fits, wanted = _is_number(value) and value > 0, "a positive number or null"
    else:
        whole = kind == "int"
        fits = _is_number(value) and value >= least and (isinstance(value, int) or not whole)
        wanted = f"a {'whole number' if whole else 'number'} of at least {least}{' or null' if nullable else ''}"
    if not fits:
        raise SettingError(f"{name} must be {wanted}, received {value!r}.")
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

# SPDX-License-Identifier: Apache-2.0
"""The settings of a search that the command line may give as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_ronas.errors import SettingError

_WORDS = {"true": True, "false": False, "null": None, "none": None}


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
        skip_invalid: leave cases with faults out instead of refusing the data set.
        resample_label: resample labels that are on another grid than their image.
        final_on_reward_cases: the final training has the reward cases as well.
        flip_axes: spatial axes along which crops are flipped, or None: what the data's labels allow.
        augment: training crops are augmented beyond flips.
        test_time_flips: predictions of the trained network are averaged over flips of the volume, and its turns.
        channels: of the stages, finest first, or None to plan them.
        group: regular expression on case names that tells the patient, or None.
        splits_file: file of own folds, or None.
        deterministic: cuDNN takes kernels that repeat themselves to the last bit.

    Raises:
        SettingError: when a value is not of its kind.
    """

    resume: bool
    amp: bool
    fold: int | None
    time_budget_minutes: float | None
    memory_budget_gb: float | None
    skip_invalid: bool = False
    resample_label: bool = False
    final_on_reward_cases: bool = True
    flip_axes: Sequence[int] | None = None
    augment: bool = False
    test_time_flips: bool = True
    channels: Sequence[int] | None = None
    group: str | None = None
    splits_file: str | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, _meant(value))
        switches = [name for name, kind in self.__annotations__.items() if kind == "bool"]
        for name in switches:
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name} must be true or false, received {getattr(self, name)!r}.")
        axes = self.flip_axes
        if axes is not None:
            known = isinstance(axes, (list, tuple)) and all(type(axis) is int and axis in (0, 1, 2) for axis in axes)
            if not known or len(set(axes)) < len(axes):
                raise SettingError(
                    f"flip_axes must be null or a list of axes, each of 0, 1 and 2 at most once, received {axes!r}."
                )
            object.__setattr__(self, "flip_axes", tuple(axes))
        for name in ("group", "splits_file"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise SettingError(f"{name} must be text or null, received {value!r}.")
        for name in ("time_budget_minutes", "memory_budget_gb"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise SettingError(f"{name} must be a positive number or null, received {value!r}.")
        if self.fold is not None and (isinstance(self.fold, bool) or not isinstance(self.fold, int)):
            raise SettingError(f"fold must be a whole number or null, received {self.fold!r}.")
        if self.channels is not None:
            object.__setattr__(self, "channels", _widths(self.channels))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _widths(given: Any) -> tuple[int, ...]:
    numbers = isinstance(given, (list, tuple)) and all(type(c) is int and c > 0 for c in given)
    if not numbers or len(given) < 2:
        raise SettingError(f"channels must be null or a list of two or more positive numbers, received {given!r}.")
    return tuple(given)


def _meant(value: Any) -> Any:
    return _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value


_COUNTS = {"children_per_episode": 1, "batch_size": 1, "reward_cases_per_episode": 1, "num_folds": 0}
_WHOLE = {"episodes", "seed", *_COUNTS}


def check_numbers(**given: Any) -> None:
    """Refuse what should be a number and is not.

    Args:
        given: settings of a search by name. Counts (``episodes``, ``seed``, ``num_folds``, ``batch_size``,
            ``children_per_episode``, ``reward_cases_per_episode``) must be whole, all finite and not negative.

    Raises:
        SettingError: with the first that is not such a number.

    Example:
        >>> check_numbers(episodes=8, child_epochs=0.5)
        >>> check_numbers(episodes="abc")
        Traceback (most recent call last):
        ...
        monai_ronas.errors.SettingError: episodes must be a whole number of at least 0, received 'abc'.
    """
    for name, value in given.items():
        least = _COUNTS.get(name, 0)
        if not _is_number(value) or value < least or (name in _WHOLE and not isinstance(value, int)):
            kind = "whole number" if name in _WHOLE else "number"
            raise SettingError(f"{name} must be a {kind} of at least {least}, received {value!r}.")

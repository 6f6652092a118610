# SPDX-License-Identifier: Apache-2.0
"""Soft Dice, which tells contenders apart, and calibration."""

from monai_ronas.metrics.calibration import (
    fit_temperature,
    near_foreground,
    reliability,
    sampled,
    tempered,
)
from monai_ronas.metrics.ignored import IgnoredToBackgroundd
from monai_ronas.metrics.own_mean_dice import OwnMeanDice
from monai_ronas.metrics.soft_dice import SoftDiced, soft_dice

__all__ = [
    "IgnoredToBackgroundd",
    "OwnMeanDice",
    "SoftDiced",
    "fit_temperature",
    "near_foreground",
    "reliability",
    "sampled",
    "soft_dice",
    "tempered",
]

# SPDX-License-Identifier: Apache-2.0
from monai_ronas.metrics.ignored import IgnoredToBackgroundd
from monai_ronas.metrics.own_mean_dice import OwnMeanDice
from monai_ronas.metrics.soft_dice import SoftDiced, soft_dice

__all__ = ["IgnoredToBackgroundd", "OwnMeanDice", "SoftDiced", "soft_dice"]

# SPDX-License-Identifier: Apache-2.0
from monai_ronas.metrics.soft_dice import SoftDiced, soft_dice

__all__ = ["SoftDiced", "soft_dice"]

# SPDX-License-Identifier: Apache-2.0
"""REINFORCE with advantages that are shrunken by the noise, and deep supervision at the resolution of each level."""

from monai_ronas.losses.advantage import ShrunkenAdvantage
from monai_ronas.losses.deep_supervision import AreaDeepSupervisionLoss
from monai_ronas.losses.objective import WeightedProduct
from monai_ronas.losses.reinforce import ReinforceLoss

__all__ = ["AreaDeepSupervisionLoss", "ReinforceLoss", "ShrunkenAdvantage", "WeightedProduct"]

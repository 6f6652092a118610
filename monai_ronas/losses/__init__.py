# SPDX-License-Identifier: Apache-2.0
from monai_ronas.losses.advantage import ShrunkenAdvantage
from monai_ronas.losses.deep_supervision import AreaDeepSupervisionLoss
from monai_ronas.losses.objective import WeightedProduct
from monai_ronas.losses.reinforce import ReinforceLoss

__all__ = ["AreaDeepSupervisionLoss", "ReinforceLoss", "ShrunkenAdvantage", "WeightedProduct"]

# SPDX-License-Identifier: Apache-2.0
from monai_ronas.networks.classes import MostLikelyd, most_likely
from monai_ronas.networks.inferer import PadToStrideInferer

__all__ = ["MostLikelyd", "PadToStrideInferer", "most_likely"]

# SPDX-License-Identifier: Apache-2.0
from monai_ronas.networks.classes import MostLikelyd, most_likely
from monai_ronas.networks.inferer import PadToStrideInferer
from monai_ronas.networks.member_inferer import MemberInferer, entropy

__all__ = ["MemberInferer", "MostLikelyd", "PadToStrideInferer", "entropy", "most_likely"]

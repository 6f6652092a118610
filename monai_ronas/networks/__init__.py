# SPDX-License-Identifier: Apache-2.0
"""The inferers of the networks; the networks are in ``nets`` and their searchable blocks in ``blocks``."""

from monai_ronas.networks.classes import MostLikelyd, most_likely
from monai_ronas.networks.inferer import PadToStrideInferer
from monai_ronas.networks.member_inferer import MemberInferer, entropy

__all__ = ["MemberInferer", "MostLikelyd", "PadToStrideInferer", "entropy", "most_likely"]

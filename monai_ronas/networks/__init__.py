# SPDX-License-Identifier: Apache-2.0
from monai_ronas.networks.inferer import PadToStrideInferer

__all__ = ["PadToStrideInferer"]

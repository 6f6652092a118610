# SPDX-License-Identifier: Apache-2.0
from monai_ronas.optimizers.muon import Muon, orthogonalized
from monai_ronas.optimizers.unused import keep_unused, used_part

__all__ = ["Muon", "keep_unused", "orthogonalized", "used_part"]

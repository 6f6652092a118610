# SPDX-License-Identifier: Apache-2.0
from monai_ronas.optimizers.muon import Muon, orthogonalized

__all__ = ["Muon", "orthogonalized"]

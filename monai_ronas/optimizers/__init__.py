# SPDX-License-Identifier: Apache-2.0
"""Muon for convolutions, and steps that leave alone what a network does not use of its weights."""

from monai_ronas.optimizers.muon import Muon, orthogonalized
from monai_ronas.optimizers.unused import keep_unused, used_part

__all__ = ["Muon", "keep_unused", "orthogonalized", "used_part"]

# SPDX-License-Identifier: Apache-2.0
"""``RonasUNet``, the derived network, and ``RonasSuperNet``, which holds the weights shared by all candidates."""

from monai_ronas.networks.nets.ronas_supernet import RonasSuperNet
from monai_ronas.networks.nets.ronas_unet import RonasUNet

__all__ = ["RonasSuperNet", "RonasUNet"]

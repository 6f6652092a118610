# SPDX-License-Identifier: Apache-2.0
from monai_ronas.networks.nets.ronas_supernet import RonasSuperNet
from monai_ronas.networks.nets.ronas_unet import RonasUNet

__all__ = ["RonasSuperNet", "RonasUNet"]

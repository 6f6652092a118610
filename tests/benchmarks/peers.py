# SPDX-License-Identifier: Apache-2.0
"""The networks that a person would train instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from monai_ronas.optimizers import Muon


class Peer(NamedTuple):
    """A network made by hand; ``build`` takes the channels of image and prediction, ``divisor`` divides its input."""

    title: str
    build: Callable[[int, int], nn.Module]
    divisor: int
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    learning_rate: float = 1e-3


class Levels(DynUNet):
    """A DynUNet that returns its levels as a list in training, as the deeply supervised loss wants them."""

    def forward(self, x: torch.Tensor) -> Any:
        """Map ``(B, C, H, W, D)`` to logits, in training those of all levels."""
        outputs = super().forward(x)
        return list(outputs.unbind(dim=1)) if self.training else outputs


def dynunet(in_channels: int, out_channels: int, width: int = 16) -> DynUNet:
    """nnU-Net's plan for small volumes: four stages, 3x3x3 convolutions, deep supervision; its own width is 32."""
    return Levels(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * 4,
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2] * 3,
        filters=[width, 2 * width, 4 * width, 8 * width],
        deep_supervision=True,
        deep_supr_num=2,
    )


def segresnet(in_channels: int, out_channels: int) -> SegResNet:
    """MONAI's defaults at 16 filters."""
    return SegResNet(init_filters=16, in_channels=in_channels, out_channels=out_channels)


def unet(in_channels: int, out_channels: int) -> UNet:
    """MONAI's tutorials' network: five levels, two residual units each."""
    return UNet(3, in_channels, out_channels, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)


PEERS = {
    "dynunet_half": Peer("DynUNet 16-128, nnU-Net's plan at half width", dynunet, 8),
    "dynunet_half_muon": Peer("DynUNet 16-128 with our optimiser", dynunet, 8, Muon, 0.02),
    "dynunet": Peer("DynUNet 32-256, nnU-Net's plan", lambda i, o: dynunet(i, o, 32), 8),
    "segresnet": Peer("SegResNet 16", segresnet, 8),
    "unet": Peer("UNet 16-256, 2 residual units", unet, 16),
}

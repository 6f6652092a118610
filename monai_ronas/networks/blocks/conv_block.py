# SPDX-License-Identifier: Apache-2.0
"""Convolution, normalisation, activation; with a choice of dilation and activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import nn

from monai_ronas.networks.blocks.instance_norm import ChannelsLastInstanceNorm
from monai_ronas.networks.blocks.leading_conv import leading_conv

ActSpec = str | tuple[str, dict[str, Any]]


def act_key(act: ActSpec) -> str:
    """The name under which an activation's module is kept: the factory's name, lower case."""
    return (act if isinstance(act, str) else act[0]).lower()


def _act_layer(act: ActSpec) -> nn.Module:
    """MONAI's layer, in place where it can be: a normalisation does not need its output for the gradient."""
    layer = get_act_layer(act)
    if hasattr(layer, "inplace"):
        layer.inplace = True
    return layer


def _norm_layer(norm: str | tuple[str, dict[str, Any]], spatial_dims: int, channels: int) -> nn.Module:
    """MONAI's layer; instance normalisation without running statistics in the form that is fast on CPUs as well."""
    layer = get_norm_layer(norm, spatial_dims=spatial_dims, channels=channels)
    if isinstance(layer, (nn.InstanceNorm2d, nn.InstanceNorm3d)) and not layer.track_running_stats:
        return ChannelsLastInstanceNorm(channels, eps=layer.eps, affine=layer.affine)
    return layer


class SearchableConvBlock(nn.Module):
    """A convolution without bias, a normalisation and an activation, size preserving.

    The weights do not depend on the dilation, nor do the usual activations have any, and a narrower block uses the
    leading channels, so that one set of weights serves every choice. With a single activation this is an ordinary
    static block and can be scripted.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        act: activation, in the notation of MONAI's ``Act`` factory.
        norm: normalisation, in the notation of MONAI's ``Norm`` factory.
        dilation: dilation rate.
        kernel_size: of the convolution, odd, one number for all axes or one for each.
        dropout: probability of dropout after the activation; 0 for none.

    Raises:
        ValueError: when a size of the kernel is even.

    Example:
        >>> SearchableConvBlock(3, 1, 8, dilation=2)(torch.zeros(1, 1, 8, 8, 8)).shape
        torch.Size([1, 8, 8, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        act: ActSpec = "LEAKYRELU",
        norm: str | tuple[str, dict[str, Any]] = ("INSTANCE", {"affine": True}),
        dilation: int = 1,
        kernel_size: Sequence[int] | int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kernel = (kernel_size,) * spatial_dims if isinstance(kernel_size, int) else tuple(kernel_size)
        if any(k % 2 == 0 for k in kernel):
            raise ValueError(f"kernel_size must be odd, so that the size is preserved, received {kernel}.")
        self.conv = leading_conv(spatial_dims)(in_channels, out_channels, kernel_size=kernel, bias=False)
        self._dilate(dilation)
        self.norm = _norm_layer(norm, spatial_dims, out_channels)
        self.act = nn.ModuleDict({act_key(act): _act_layer(act)})
        self.active = act_key(act)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()

    def offer(self, acts: Sequence[ActSpec]) -> None:
        """Add activations for :meth:`select` to choose from."""
        for act in acts:
            if act_key(act) not in self.act:
                self.act[act_key(act)] = _act_layer(act)

    def select(self, *, dilation: int, act: ActSpec, width: int) -> None:
        """Choose dilation, activation and number of output channels in place; no module or tensor is made.

        Raises:
            ValueError: when ``act`` is not among the block's activations.
        """
        if act_key(act) not in self.act:
            raise ValueError(f"act must be one of {list(self.act)}, received {act!r}.")
        self._dilate(dilation)
        self.conv.width = width
        self.active = act_key(act)

    def _dilate(self, dilation: int) -> None:
        kernel = self.conv.kernel_size
        self.conv.dilation = (dilation,) * len(kernel)
        self.conv.padding = tuple(dilation * (k // 2) for k in kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, H, W[, D])`` to ``(B, out_channels, H, W[, D])``."""
        x = self.norm(self.conv(x))
        for name, act in self.act.items():
            if name == self.active:
                x = act(x)
        return self.dropout(x)

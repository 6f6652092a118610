# SPDX-License-Identifier: Apache-2.0
"""The network of RONASMIS with its choices made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.data import MetaTensor
from torch import nn
from torch.nn import functional as F

from monai_ronas.networks.blocks.conv_block import ActSpec
from monai_ronas.networks.blocks.leading_conv import leading_conv
from monai_ronas.networks.blocks.stages import DecoderStage, EncoderStage
from monai_ronas.networks.blocks.sum_skip import SumSkip
from monai_ronas.space import total_stride


class RonasUNet(nn.Module):
    """A U-Net whose skips are summed, with a stride, a dilation and skip points of its own for every stage.

    After Bae et al., "Resource Optimized Neural Architecture Search for 3D Medical Image Segmentation", MICCAI 2019.
    Stage 1 is the finest; decoder level ``i`` has the resolution of stage ``i``. Every axis of the input must be a
    multiple of :attr:`divisor`; :class:`~monai_ronas.networks.PadToStrideInferer` sees to that.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the prediction (classes, background included).
        channels: channels of the stages, finest first.
        strides: stride of each stage along each axis, or one number for all axes. The first stage's sets the
            resolution at which the network works; the prediction is interpolated to the input's.
        dilations: dilation rate of each stage's convolutions.
        act: activation, in the notation of MONAI's ``Act`` factory.
        norm: normalisation, in the notation of MONAI's ``Norm`` factory.
        skips: pairs (decoder level, encoder stage) with stage <= level. Default: each level its own stage.
        deep_supervision: in training, return the predictions of all decoder levels, finest first, each at its own
            resolution, for :class:`~monai_ronas.losses.AreaDeepSupervisionLoss`.
        drop_path: probability of dropping a skip for a sample in training.
        dropout: probability of dropout after each activation; MONAI Label sets it for its epistemic scores.
        kernel_sizes: of the convolutions of each stage and of its decoder level, along each axis, or one number for all
            axes; odd. Default: 3.

    Raises:
        ValueError: when the lengths of ``channels``, ``strides``, ``dilations`` and ``kernel_sizes`` differ, a skip is
            impossible, or a kernel's size is even.

    Example:
        >>> net = RonasUNet(3, 1, 2, channels=(8, 16, 32), strides=(1, 2, 2), dilations=(1, 1, 1)).eval()
        >>> net(torch.zeros(1, 1, 16, 16, 16)).shape
        torch.Size([1, 2, 16, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[Sequence[int] | int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        act: ActSpec = "LEAKYRELU",
        norm: str | tuple[str, dict[str, Any]] = ("INSTANCE", {"affine": True}),
        skips: Sequence[Sequence[int]] | None = None,
        deep_supervision: bool = True,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        kernel_sizes: Sequence[Sequence[int] | int] | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, received {spatial_dims}.")
        kernels = [3] * len(channels) if kernel_sizes is None else list(kernel_sizes)
        if not len(channels) == len(strides) == len(dilations) == len(kernels) >= 2:
            raise ValueError(
                "channels, strides, dilations and kernel_sizes need one entry per stage, at least two, received "
                f"{len(channels)}, {len(strides)}, {len(dilations)} and {len(kernels)}."
            )
        stages = len(channels)
        skips = [(i, i) for i in range(1, stages)] if skips is None else [(int(i), int(j)) for i, j in skips]
        wrong = [(i, j) for i, j in skips if not 1 <= j <= i < stages]
        if wrong:
            raise ValueError(f"skips must be (level, stage) with 1 <= stage <= level < {stages}, received {wrong}.")
        self.spatial_dims = spatial_dims
        self.deep_supervision = deep_supervision
        stride = [(s,) * spatial_dims if isinstance(s, int) else tuple(s) for s in strides]
        blocks = [{"act": act, "norm": norm, "dropout": dropout, "kernel_size": kernel} for kernel in kernels]

        self.encoder = nn.ModuleList()
        for i in range(stages):
            before = in_channels if i == 0 else channels[i - 1]
            self.encoder.append(
                EncoderStage(
                    spatial_dims, before, channels[i], stride=stride[i], dilation=dilations[i], block=blocks[i]
                )
            )
        self.decoder = nn.ModuleList()
        for level in range(stages - 1, 0, -1):
            joined = {
                str(j): SumSkip(
                    spatial_dims,
                    j,
                    channels[j - 1],
                    channels[level - 1],
                    stride=total_stride(stride[j:level], spatial_dims),
                    drop_path=drop_path,
                )
                for i, j in skips
                if i == level
            }
            self.decoder.append(
                DecoderStage(
                    spatial_dims,
                    channels[level],
                    channels[level - 1],
                    scale=stride[level],
                    skips=joined,
                    block=blocks[level - 1],
                )
            )
        heads = range(1, stages) if deep_supervision else range(1, 2)
        self.heads = nn.ModuleList(
            leading_conv(spatial_dims)(channels[level - 1], out_channels, kernel_size=1) for level in heads
        )
        self.stem_scale = [float(s) for s in stride[0]]
        self.mode = "trilinear" if spatial_dims == 3 else "bilinear"
        self.divisor = list(total_stride(stride, spatial_dims))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, a=1e-2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _full_resolution(self, x: torch.Tensor) -> torch.Tensor:
        if max(self.stem_scale) > 1.0:
            x = F.interpolate(x, scale_factor=self.stem_scale, mode=self.mode, align_corners=False)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Predict logits.

        Args:
            x: image, ``(B, in_channels, H, W[, D])``, every axis a multiple of :attr:`divisor`.

        Returns:
            ``(B, out_channels, H, W[, D])``; in training with deep supervision a list of the logits of all decoder
            levels, finest first, each with the axes divided by the level's total stride. Of a ``MetaTensor`` the
            prediction has the metadata, but where gradients are recorded: with them, activations in place are slow to
            differentiate on a CPU.
        """
        if not torch.jit.is_scripting():  # noqa: SIM102 - a scripted module must not look further
            if isinstance(x, MetaTensor) and torch.is_grad_enabled():
                x = x.as_tensor()
        features: list[torch.Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        levels: list[torch.Tensor] = []
        for decoder in self.decoder:
            x = decoder(x, features)
            levels.append(x)
        outputs: list[torch.Tensor] = []
        for i, head in enumerate(self.heads):
            if i == 0 or (self.training and self.deep_supervision):
                outputs.append(head(levels[len(levels) - 1 - i]))
        if not torch.jit.is_scripting() and self.training and self.deep_supervision:
            return cast(torch.Tensor, outputs)
        return self._full_resolution(outputs[0])

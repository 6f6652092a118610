# SPDX-License-Identifier: Apache-2.0
"""One-shot inference on volumes of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn import functional as F


class PadToStrideInferer(Inferer):
    """Pad the volume to a multiple of the network's strides, run the network once, crop the prediction back.

    Zeros are added on both sides (zero is the mean after z-score normalisation). A volume that would leave a single
    voxel at the deepest stage is padded to two. In training mode, where the network returns several outputs, crops must
    have the right size already.

    Args:
        divisor: the multiple for each axis. Default: the ``divisor`` attribute of the network at each call.
        amp: run the network in bfloat16 under autocast where the device supports it; the prediction is float32.

    Example:
        >>> from monai_ronas.networks.nets import RonasUNet
        >>> net = RonasUNet(3, 1, 2, channels=(4, 8), strides=(1, 2), dilations=(1, 1)).eval()
        >>> PadToStrideInferer()(torch.zeros(1, 1, 9, 7, 5), net).shape
        torch.Size([1, 2, 9, 7, 5])
    """

    def __init__(self, divisor: Sequence[int] | None = None, *, amp: bool = False) -> None:
        super().__init__()
        self.divisor = None if divisor is None else tuple(int(d) for d in divisor)
        self.amp = amp

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """Run ``network`` on ``inputs`` of shape ``(B, C, H, W[, D])``; the prediction has the same spatial shape.

        Raises:
            ValueError: when the network returns several outputs and the input would have to be padded.
        """
        divisor: Any = self.divisor or getattr(network, "divisor", (1,) * (inputs.dim() - 2))
        size = inputs.shape[2:]
        extra = [-s % d for s, d in zip(size, divisor, strict=True)]
        if all(s + e == d for s, e, d in zip(size, extra, divisor, strict=True)):
            extra[0] += divisor[0]  # instance normalisation needs more than one voxel at the deepest stage
        before = [e // 2 for e in extra]
        padded = inputs
        if any(extra):
            pads = [p for b, e in zip(reversed(before), reversed(extra), strict=True) for p in (b, e - b)]
            padded = F.pad(inputs, pads)
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            outputs = network(padded, *args, **kwargs)
        if isinstance(outputs, (list, tuple)):
            if any(extra):
                raise ValueError(
                    f"crops for training with deep supervision must be multiples of {tuple(divisor)} with more than "
                    f"one voxel at the deepest stage, got {tuple(size)}."
                )
            return [o.float() for o in outputs]
        crop = (slice(None), slice(None), *(slice(b, b + s) for b, s in zip(before, size, strict=True)))
        return outputs.float()[crop]

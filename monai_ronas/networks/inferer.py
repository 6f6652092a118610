# SPDX-License-Identifier: Apache-2.0
"""One-shot inference on volumes of any size."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch.nn import functional as F

from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)


class PadToStrideInferer(Inferer):
    """Pad the volume to a multiple of the network's strides, run the network once, crop the prediction back.

    Zeros are added on both sides (zero is the mean after z-score normalisation), at least up to ``roi_size``, which is
    the training patch: in training, volumes are padded up to it, and the statistics of an instance normalisation depend
    on that. A volume that would leave a single voxel at the deepest stage is padded to two. In training mode, where the
    network returns several outputs, crops must have the right size already, which is at least ``roi_size``.

    A volume that has more than ``max_voxels``, padded, goes through MONAI's sliding window instead, with half overlap
    and Gaussian weights; so does one for which the memory did not suffice, and all that are as large from then on.

    Args:
        divisor: the multiple for each axis. Default: the ``divisor`` attribute of the network at each call.
        amp: run the network in bfloat16 under autocast where the device supports it; the prediction is float32.
        max_voxels: voxels of the largest volume for one shot, padding up to ``roi_size`` included. Default: no limit.
        roi_size: the training patch, a multiple of the divisor: what volumes are padded to, and the size of the window.
            Default: the ``patch`` attribute of the network at each call; without one, volumes are padded to the strides
            only, and there are no windows.
        flips: spatial axes, from 0. The softmax probabilities are averaged over all flips along them, in
            ``2**len(flips)`` runs; the prediction is the logarithm of the mean.

    Raises:
        ValueError: when ``roi_size`` is no multiple of ``divisor``.

    Example:
        >>> from monai_ronas.networks.nets import RonasUNet
        >>> net = RonasUNet(3, 1, 2, channels=(4, 8), strides=(1, 2), dilations=(1, 1)).eval()
        >>> PadToStrideInferer()(torch.zeros(1, 1, 9, 7, 5), net).shape
        torch.Size([1, 2, 9, 7, 5])
    """

    def __init__(
        self,
        divisor: Sequence[int] | None = None,
        *,
        amp: bool = False,
        max_voxels: int | None = None,
        roi_size: Sequence[int] | None = None,
        flips: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.divisor = None if divisor is None else tuple(int(d) for d in divisor)
        self.amp = amp
        self.max_voxels = max_voxels
        self.roi_size = None if roi_size is None else tuple(int(r) for r in roi_size)
        self.flips = tuple(int(axis) for axis in flips)
        if self.divisor and self.roi_size and any(r % d for r, d in zip(self.roi_size, self.divisor, strict=True)):
            raise ValueError(f"roi_size must be a multiple of {self.divisor} on each axis, got {self.roi_size}.")

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """Run ``network`` on ``inputs`` of shape ``(B, C, H, W[, D])``; the prediction has the same spatial shape.

        Raises:
            ValueError: when the network returns several outputs and the input would have to be padded.
        """
        if not self.flips:
            return self._volume(inputs, network, *args, **kwargs)
        total: Any = 0.0
        for chosen in itertools.product((False, True), repeat=len(self.flips)):
            dims = [axis + 2 for axis, flip in zip(self.flips, chosen, strict=True) if flip]
            prediction = cast(torch.Tensor, self._volume(inputs.flip(dims), network, *args, **kwargs))
            total += prediction.softmax(dim=1).flip(dims)
        return cast(torch.Tensor, (total / self.runs).log_())

    @property
    def runs(self) -> int:
        """How often the network runs for a volume."""
        return int(2 ** len(self.flips))

    def _volume(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """One run, in one shot or in windows."""
        roi_size = self.roi_size or getattr(network, "patch", None)
        size = inputs.shape[2:]
        least = [max(s, r) for s, r in zip(size, roi_size or size, strict=True)]
        voxels = math.prod(least)
        if self.max_voxels is None or voxels <= self.max_voxels:
            try:
                return self._one_shot(inputs, least, network, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if roi_size is None or torch.is_grad_enabled() or not is_out_of_memory(error):
                    raise
            logger.warning("%d voxels are too many for one shot: going on with windows of %s", voxels, roi_size)
            self.max_voxels = voxels - 1
        windows = SlidingWindowInferer(roi_size=roi_size, overlap=0.5, mode="gaussian")  # type: ignore[arg-type]

        def run(window: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
            return self._one_shot(window, window.shape[2:], network, *args, **kwargs)

        return cast(torch.Tensor, windows(inputs, run))

    def _one_shot(
        self, inputs: torch.Tensor, least: Sequence[int], network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """One run on the inputs padded to a multiple of the strides, on no axis less than ``least``."""
        divisor: Any = self.divisor or getattr(network, "divisor", (1,) * (inputs.dim() - 2))
        size = inputs.shape[2:]
        extra = [math.ceil(n / d) * d - s for s, n, d in zip(size, least, divisor, strict=True)]
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
                    f"one voxel at the deepest stage and no smaller than the training patch, got {tuple(size)}."
                )
            return [o.float() for o in outputs]
        crop = (slice(None), slice(None), *(slice(b, b + s) for b, s in zip(before, size, strict=True)))
        return outputs.float()[crop]

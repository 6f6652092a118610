# SPDX-License-Identifier: Apache-2.0
"""One-shot inference on volumes of any size."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from monai.utils import convert_to_dst_type
from torch.nn import functional as F

from monai_ronas.networks.views import View, add_view, views, with_memory
from monai_ronas.networks.window_slabs import plan_slabs, segment_slabs, sum_bytes
from monai_ronas.utils import half_type, is_out_of_memory

logger = logging.getLogger(__name__)
_LARGEST_INDEX = 2**31 - 1
_TOO_LONG = re.compile(r"32[- ]?bit ?index|INT_MAX", re.IGNORECASE)  # torch's words, canUse32BitIndexMath among them


class PadToStrideInferer(Inferer):
    """Pad the volume to a multiple of the network's strides, run the network once, crop the prediction back.

    Zeros are added on both sides (zero is the mean after z-score normalisation), at least up to ``roi_size``, which is
    the training patch: in training, volumes are padded up to it, and the statistics of an instance normalisation depend
    on that. A volume that would leave a single voxel at the deepest stage is padded to two. In training mode, where the
    network returns several outputs, crops must have the right size already, which is at least ``roi_size``.

    A volume that has more than ``max_voxels``, padded, goes through MONAI's sliding window instead, with overlap
    and Gaussian weights; so does one for which the memory did not suffice, and all that are as large from then on. So
    does, on a CUDA device, one with more than ``2**31 - 1`` values in a feature map or in the prediction.

    Where the memory of the device does not suffice for the sums over windows or flips, they are made on the CPU, and
    the prediction stays there where it does not fit on the device either.

    Where ``result_gb`` is given and the sums of all classes take more, the volume goes through the same windows in
    slabs along one axis, and the prediction holds class indices ``(B, 1, H, W[, D])`` instead of logits, so that its
    single channel tells it apart: :func:`~monai_ronas.networks.most_likely` takes both. The number of classes is read
    from the network's ``heads``.

    Args:
        divisor: the multiple for each axis. Default: the ``divisor`` attribute of the network at each call.
        amp: run the network under autocast in 16 bits: bfloat16, or float16 on CUDA devices that have no bfloat16,
            where training needs a scaled loss (:func:`~monai_ronas.utils.needs_loss_scaling`). The prediction is
            float32.
        max_voxels: voxels of the largest volume for one shot, padding up to ``roi_size`` included. 0: always windows.
            Default: no limit.
        roi_size: the training patch, a multiple of the divisor: what volumes are padded to, and the size of the window.
            Default: the ``patch`` attribute of the network at each call; without one, volumes are padded to the strides
            only, and there are no windows.
        flips: spatial axes, from 0. The softmax probabilities are averaged over all flips along them, in
            ``2**len(flips)`` runs; the prediction is the logarithm of the mean.
        transposed_axes: two spatial axes. The probabilities are averaged over the volume and the one in which they have
            changed places, too: with flips along both, over the eight flips and quarter turns. Default: none.
        sw_batch_size: windows that go through the network at once.
        overlap: part of a window that it shares with the next.
        stitch_device: where windows and flips are summed up and the prediction is left, such as ``"cpu"`` where there
            are many classes. Default: the device of the inputs.
        result_gb: memory in GiB that the prediction and the sums over windows and flips may take; what comes after has
            to take class indices as well. Default: no limit, the prediction always holds logits.

    Raises:
        ValueError: when ``roi_size`` is not a multiple of ``divisor``, or ``sw_batch_size`` is less than 1.

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
        transposed_axes: Sequence[int] | None = None,
        sw_batch_size: int = 1,
        overlap: float = 0.5,
        stitch_device: str | None = None,
        result_gb: float | None = None,
    ) -> None:
        super().__init__()
        self.divisor = None if divisor is None else tuple(int(d) for d in divisor)
        self.amp = amp
        self.max_voxels = max_voxels
        self.roi_size = None if roi_size is None else tuple(int(r) for r in roi_size)
        self.flips = tuple(int(axis) for axis in flips)
        self.transposed_axes = None if transposed_axes is None else tuple(int(axis) for axis in transposed_axes)
        self.sw_batch_size = sw_batch_size
        self.overlap = overlap
        self.stitch_device = stitch_device
        self.result_gb = result_gb
        if sw_batch_size < 1:
            raise ValueError(f"sw_batch_size must be at least 1, received {sw_batch_size}.")
        if self.divisor and self.roi_size and any(r % d for r, d in zip(self.roi_size, self.divisor, strict=True)):
            raise ValueError(f"roi_size must be a multiple of {self.divisor} on each axis, received {self.roi_size}.")

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """Run ``network`` on ``inputs`` of shape ``(B, C, H, W[, D])``; the prediction has the same spatial shape.

        Raises:
            ValueError: when the network returns several outputs and the input would have to be padded.
        """
        home = torch.device(self.stitch_device or inputs.device)
        indices = self.in_slabs(inputs, network, *args, **kwargs)
        if indices is not None:
            return indices
        if self.runs == 1:
            prediction = self.one_run(inputs, network, *args, **kwargs)
            return prediction if isinstance(prediction, list) else with_memory(prediction.to, home)
        total: torch.Tensor | None = None
        for view in self.views:
            total = add_view(
                total, cast(torch.Tensor, self.one_run(view.of(inputs), network, *args, **kwargs)), view, home
            )
        mean = cast(torch.Tensor, total).div_(self.runs).log_()
        if isinstance(inputs, MetaTensor):
            mean = convert_to_dst_type(mean, inputs, dtype=mean.dtype, device=mean.device)[0]
        return with_memory(mean.to, home)

    @property
    def runs(self) -> int:
        """How often the network runs for a volume."""
        return len(self.views)

    @property
    def views(self) -> list[View]:
        """The views of a volume that are averaged."""
        return views(self.flips, self.transposed_axes)

    def one_run(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | list[torch.Tensor]:
        """The logits of one run on a view, in one shot or in windows."""
        roi_size = self.roi_size or getattr(network, "patch", None)
        size = inputs.shape[2:]
        least = [max(s, r) for s, r in zip(size, roi_size or size, strict=True)]
        voxels = math.prod(least)
        must = roi_size is None or torch.is_grad_enabled()
        if self.max_voxels is None or voxels <= self.max_voxels:
            try:
                if must or not _beyond_indices(network, inputs.device, len(inputs), voxels):
                    return self._one_shot(inputs, least, network, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                short = is_out_of_memory(error)
                if must or not (short or _TOO_LONG.search(str(error))):
                    raise
                if short:
                    self.max_voxels = voxels - 1
            logger.warning("%d voxels are too many for one shot: going on with windows of %s", voxels, roi_size)

        return self._windows(inputs, cast(Sequence[int], roi_size), network, *args, **kwargs)

    def _windows(
        self, inputs: torch.Tensor, roi_size: Sequence[int], network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """One run in windows."""

        def run(window: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
            return self._one_shot(window, window.shape[2:], network, *args, **kwargs)

        def stitch(device: torch.device) -> torch.Tensor:
            windows = SlidingWindowInferer(
                roi_size=roi_size,
                sw_batch_size=self.sw_batch_size,
                overlap=self.overlap,
                mode="gaussian",
                sw_device=inputs.device,
                device=device,
            )
            return cast(torch.Tensor, windows(inputs, run))

        return with_memory(stitch, torch.device(self.stitch_device or inputs.device))

    def holds_all_classes(self, inputs: torch.Tensor, network: Callable[..., Any], *, summed: bool = False) -> bool:
        """Whether the sums of all classes are within ``result_gb``; if not, :meth:`in_slabs` gives class indices.

        Args:
            inputs: ``(B, C, H, W[, D])``.
            network: to be run on them.
            summed: probabilities are summed up, as those of several flips always are.
        """
        roi_size = self.roi_size or getattr(network, "patch", None)
        head = next(iter(getattr(network, "heads", ())), None)
        if self.result_gb is None or roi_size is None or head is None or torch.is_grad_enabled():
            return True
        voxels = math.prod(map(max, inputs.shape[2:], roi_size))
        summed = summed or self.runs > 1
        return sum_bytes(len(inputs) * head.out_channels, voxels, flips=summed) <= self.result_gb * 2**30

    def in_slabs(
        self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor | None:
        """Class indices where the sums of all classes are beyond the memory; None where they are not."""
        if self.holds_all_classes(inputs, network):
            return None
        roi_size = self.roi_size or cast(Any, network).patch
        size, classes = inputs.shape[2:], len(inputs) * cast(Any, network).heads[0].out_channels
        most, flips = cast(float, self.result_gb) * 2**30, self.runs > 1
        plan = plan_slabs(size, roi_size, overlap=self.overlap, classes=classes, flips=flips, most_bytes=most)
        logger.info("the sums of all classes take more than %.2f GB: slabs of %d voxels", most / 2**30, plan.thickness)
        indices = segment_slabs(
            inputs,
            lambda part: self._windows(part, roi_size, network, *args, **kwargs),
            plan,
            roi_size=roi_size,
            overlap=self.overlap,
            views=self.views,
        )
        if isinstance(inputs, MetaTensor):
            return cast(
                torch.Tensor, convert_to_dst_type(indices, inputs, dtype=indices.dtype, device=indices.device)[0]
            )
        return indices

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
        kind = half_type(inputs.device) if self.amp else None
        with torch.autocast(inputs.device.type, dtype=kind, enabled=self.amp):
            outputs = network(padded, *args, **kwargs)
        if isinstance(outputs, (list, tuple)):
            if any(extra):
                raise ValueError(
                    f"crops for training with deep supervision must be multiples of {tuple(divisor)} with more than "
                    f"one voxel at the deepest stage and no smaller than the training patch, received {tuple(size)}."
                )
            return [o.float() for o in outputs]
        crop = (slice(None), slice(None), *(slice(b, b + s) for b, s in zip(before, size, strict=True)))
        return outputs.float()[crop]


def _beyond_indices(network: Any, device: torch.device, batch: int, voxels: int) -> bool:
    """Whether a tensor of a run in one shot has more values than CUDA's kernels index with 32 bits."""
    head = next(iter(getattr(network, "heads", ())), None)
    if device.type != "cuda" or head is None:
        return False
    finest = voxels / math.prod(getattr(network, "stem_scale", (1,)))
    return batch * max(head.in_channels * finest, head.out_channels * voxels) > _LARGEST_INDEX

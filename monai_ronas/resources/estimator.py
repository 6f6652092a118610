# SPDX-License-Identifier: Apache-2.0
"""Memory, operations and parameters of an architecture, without building it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from monai_ronas.networks.blocks import SearchableConvBlock
from monai_ronas.space import RonasSpace, total_stride

_SINGLE, _HALF, _INDEX = 4, 2, 8  # bytes of float32, of bfloat16 and of an index of max pooling
_GIB = 2**30
_MARGIN = 1.1  # measured needs exceed the estimate by up to a tenth


@dataclass(frozen=True)
class _Maps:
    """What an architecture makes of an input: values in one feature map of each stage, and the choices."""

    voxels: int
    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    skips: tuple[tuple[int, int], ...]


class ResourceEstimator:
    """Costs of the architectures of a space, from their feature maps in the order of the network's operations.

    The workspace that a convolution takes for itself is left out, and so is the memory of the process and of the data.

    Args:
        space: the architectures.
        channels: channels of the stages, finest first.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        amp: training and scoring run in bfloat16 under autocast.
        memory_gb: memory in GiB that training and scoring may need, or None for no limit.
        volume: shape of the largest volume that is scored. Default: the shape of the space.
        flips: predictions of the trained network are averaged over flips of the volume.

    Example:
        >>> space = RonasSpace((32, 32, 32))
        >>> costs = ResourceEstimator(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=2)
        >>> costs.macs(space.base)
        294453248
        >>> round(costs.training_bytes(space.base, crops=2) / 2**20)
        39
    """

    def __init__(
        self,
        space: RonasSpace,
        *,
        channels: Sequence[int],
        in_channels: int,
        out_channels: int,
        amp: bool = False,
        memory_gb: float | None = None,
        volume: Sequence[int] | None = None,
        flips: bool = False,
    ) -> None:
        self.space = space
        self.channels = tuple(channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.amp = amp
        self.memory_gb = memory_gb
        self.volume = tuple(space.shape if volume is None else volume)
        self.flips = flips
        self._kernel = 3 ** len(space.shape)
        everything = [(i, j) for i in range(1, len(self.channels)) for j in range(1, i + 1)]
        self._shared = self._parameters(everything, heads=len(self.channels) - 1)

    def _maps(self, architecture: Mapping[str, Any], size: Sequence[int] | None) -> _Maps:
        chosen = self.space.network_kwargs(architecture)
        size = self.space.patch(architecture) if size is None else size
        divisor = total_stride(chosen["strides"], len(size))
        current = [float(-(-s // d) * d) for s, d in zip(size, divisor, strict=True)]  # as the inferer pads it
        voxels = math.prod(current)
        counts = []
        for stride in chosen["strides"]:
            current = [c / s for c, s in zip(current, stride, strict=True)]
            counts.append(math.ceil(math.prod(current)))
        return _Maps(int(voxels), tuple(counts), chosen["strides"], chosen["skips"])

    def _joined(self, maps: _Maps, level: int) -> list[int]:
        """Channels of the skips that a decoder level adds."""
        return [self.channels[j - 1] for i, j in maps.skips if i == level]

    def macs(self, architecture: Mapping[str, Any], size: Sequence[int] | None = None) -> int:
        """Multiply-accumulate operations of the convolutions in one forward pass on one sample.

        Args:
            architecture: the architecture.
            size: spatial size of the input. Default: the architecture's training patch.
        """
        maps = self._maps(architecture, size)
        total, before = 0, self.in_channels
        for width, count in zip(self.channels, maps.counts, strict=True):
            total += count * self._kernel * (before * width + width * width)
            before = width
        for level in range(1, len(self.channels)):
            width, count = self.channels[level - 1], maps.counts[level - 1]
            total += maps.counts[level] * self.channels[level] * width
            total += count * self._kernel * 2 * width * width
            total += count * width * sum(self._joined(maps, level))
        return total + maps.counts[0] * self.channels[0] * self.out_channels

    def parameters(self, architecture: Mapping[str, Any]) -> int:
        """Parameters of the derived network."""
        return self._parameters(self.space.network_kwargs(architecture)["skips"], heads=1)

    def _parameters(self, skips: Sequence[tuple[int, int]], *, heads: int) -> int:
        total, before = 0, self.in_channels
        for width in self.channels:
            total += self._kernel * (before * width + width * width) + 4 * width
            before = width
        for level in range(1, len(self.channels)):
            width = self.channels[level - 1]
            total += self.channels[level] * width + width + self._kernel * 2 * width * width + 4 * width
            total += sum(self.channels[j - 1] * width + width for i, j in skips if i == level)
            total += (width * self.out_channels + self.out_channels) if level <= heads else 0
        return total

    def inference_bytes(self, architecture: Mapping[str, Any], size: Sequence[int], *, amp: bool = False) -> int:
        """Peak of the bytes of feature maps alive while one volume goes through the derived network.

        The volume and its prediction are included, the weights are not.

        Args:
            architecture: the architecture.
            size: spatial size of the volume.
            amp: in bfloat16 under autocast instead of float32.
        """
        maps = self._maps(architecture, size)
        value = _HALF if amp else _SINGLE
        volume, prediction = maps.voxels * self.in_channels * _SINGLE, maps.voxels * self.out_channels
        kept, peak, before = 0, maps.voxels * self.in_channels if amp else 0, self.in_channels
        for stride, width, count in zip(maps.strides, self.channels, maps.counts, strict=True):
            pooled = count * before if max(stride) > 1 else 0
            peak = max(peak, kept + max(pooled + 2 * count * width, 3 * count * width))
            kept += count * width
            before = width
        for level in range(len(self.channels) - 1, 0, -1):
            width, count = self.channels[level - 1], maps.counts[level - 1]
            own, matched = count * width, maps.counts[level] * width
            pooled = max((count * c for c in self._joined(maps, level) if c != width), default=0)
            peak = max(peak, kept + max(matched + own, 2 * own + pooled, 4 * own))
            kept += own
        end = value * (kept + prediction) + (_SINGLE * prediction if amp else 0)
        return volume + max(value * peak, end)

    def flip_bytes(self, voxels: int) -> tuple[int, int]:
        """What averaging over flips keeps of a volume of so many voxels while the network runs, and needs at most.

        These are a flipped copy of the volume and the sum of the probabilities; then the volume, its copy, the sum and
        a prediction, its probabilities, and these the right way round.
        """
        copy, prediction = (_SINGLE * voxels * channels for channels in (self.in_channels, self.out_channels))
        return copy + prediction, 2 * copy + 4 * prediction

    def training_bytes(self, architecture: Mapping[str, Any], *, crops: int) -> int:
        """Peak of the bytes alive in a training step on the supernet, with deep supervision, Dice loss and Adam.

        Weights, the optimiser's state (two moments, of which Muon keeps one) and the batch are included.

        Args:
            architecture: the architecture, whose patch is trained.
            crops: crops in the batch.
        """
        maps = self._maps(architecture, None)
        value = _HALF if self.amp else _SINGLE
        kept = _kept_maps(architecture["activation"])
        saved = maps.voxels * (self.in_channels + 1) * _SINGLE
        saved += maps.voxels * self.in_channels * _HALF if self.amp else 0
        before = self.in_channels
        for stride, width, count in zip(maps.strides, self.channels, maps.counts, strict=True):
            saved += count * before * (value + _INDEX) if max(stride) > 1 else 0
            saved += 2 * kept * count * width * value
            before = width
        levels = 0
        for level in range(1, len(self.channels)):
            width, count = self.channels[level - 1], maps.counts[level - 1]
            saved += (2 * kept + 1) * count * width * value
            saved += sum(count * c * (value + _INDEX) for c in self._joined(maps, level) if c != width)
            levels += count
        logits = levels * self.out_channels * _SINGLE
        losses = levels * (3 * self.out_channels + 2) * _SINGLE
        transient = max(
            1.4 * maps.voxels * self.out_channels * _SINGLE, 1.15 * maps.counts[0] * self.channels[0] * value
        )
        batch = crops * (saved + logits + losses + transient)
        own = self._parameters(maps.skips, heads=len(self.channels) - 1)
        return int(batch) + 3 * _SINGLE * self._shared + (_HALF * own if self.amp else 0)

    def cost(self, name: str) -> Callable[[Mapping[str, Any]], float]:
        """One of the costs of an architecture by its name.

        Args:
            name: ``"macs"`` of a forward pass on the data's shape, ``"parameters"``, or ``"memory"`` of inference.

        Raises:
            ValueError: when the name is unknown.
        """
        shape = self.space.shape
        costs: dict[str, Callable[[Mapping[str, Any]], float]] = {
            "macs": lambda architecture: self.macs(architecture, shape),
            "parameters": self.parameters,
            "memory": lambda architecture: self.inference_bytes(architecture, shape),
        }
        if name not in costs:
            raise ValueError(f"cost must be null, latency or one of {list(costs)}, got {name!r}.")
        return costs[name]

    def fits(self, architecture: Mapping[str, Any], *, crops: int = 1) -> bool:
        """Whether a training step fits into the memory, with a tenth to spare for what the estimate misses."""
        return (
            self.memory_gb is None or _MARGIN * self.training_bytes(architecture, crops=crops) <= self.memory_gb * _GIB
        )

    def learn_limit(self, architecture: Mapping[str, Any], *, crops: int) -> None:
        """Lower the limit, or set one, below a batch that was too large in fact."""
        needed = _MARGIN * self.training_bytes(architecture, crops=crops) / _GIB
        self.memory_gb = min(0.99 * needed, self.memory_gb or math.inf)

    def limited_space(self) -> RonasSpace:
        """The space without the architectures that do not fit with a single crop; it follows a limit learnt later.

        Raises:
            ValueError: when nothing, or not the base network, can be trained, or the largest volume cannot be scored,
                with the smallest memory that would do.
        """
        if self.memory_gb is not None:
            bases = self.space.with_every_patch(self.space.base)
            needs = {
                "the smallest network of the space": self.training_bytes(self.space.cheapest, crops=1),
                "the base network": min(self.training_bytes(a, crops=1) for a in bases if self.space.is_feasible(a)),
                "scoring the largest volume": self.scoring_bytes(),
            }
            for what, need in needs.items():
                least = math.ceil(1e6 * _MARGIN * need / _GIB) / 1e6
                if least > self.memory_gb:
                    raise ValueError(
                        f"memory_budget_gb {self.memory_gb} is too little: {what} needs {least:g} GB; give more "
                        "memory, fewer channels or smaller patches."
                    )
        return self.space.restrict(self.fits)

    def scoring_bytes(self) -> int:
        """What scoring the largest volume needs, in one shot or in windows, whichever is less, beside the supernet.

        Windows of the base network's patch are summed up in a volume for each class, with their weights. Of the volume
        itself the prediction, its class indices and the label remain.
        """
        voxels = math.prod(self.volume)
        sums = voxels * (self.in_channels + self.out_channels + 1) * _SINGLE
        end = voxels * ((self.in_channels + self.out_channels + 2) * _SINGLE + _INDEX)
        kept, most = self.flip_bytes(voxels) if self.flips else (0, 0)
        window, whole = (
            self.inference_bytes(self.space.largest, size, amp=self.amp)
            for size in (self.space.patch(self.space.base), self.volume)
        )
        return max(kept + min(sums + window, whole), most, end) + 3 * _SINGLE * self._shared

    def window_fits(self, architecture: Mapping[str, Any]) -> bool:
        """Whether the derived network segments a window of its patch within the memory."""
        need = self.inference_bytes(architecture, self.space.patch(architecture))
        need += _SINGLE * self.parameters(architecture)
        return self.memory_gb is None or _MARGIN * need <= self.memory_gb * _GIB

    def one_shot_voxels(self, memory_gb: float, *, amp: bool = False, flips: bool = False) -> int:
        """Voxels of the largest volume that every architecture segments in one shot, beside the supernet's own memory.

        Args:
            memory_gb: memory in GiB.
            amp: in bfloat16 under autocast instead of float32.
            flips: averaged over flips.
        """
        size = self.space.shape
        free = max(memory_gb * _GIB / _MARGIN - 3 * _SINGLE * self._shared, 0.0)
        need = self.inference_bytes(self.space.largest, size, amp=amp)
        if flips:
            kept, most = self.flip_bytes(math.prod(size))
            need = max(need + kept, most)
        return int(free * math.prod(size) / need)


@functools.cache
def _kept_maps(activation: str) -> int:
    """Maps that a convolution, its normalisation and an activation keep for the gradient, counted on a small block."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        block = SearchableConvBlock(3, 1, 2, act=activation)
        kept: list[torch.Tensor] = []

        def note(saved: torch.Tensor) -> torch.Tensor:
            kept.append(saved)
            return saved

        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            output = block(torch.ones(1, 1, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d))
    maps = [saved for saved in (*kept, output) if saved.numel() == output.numel()]
    return len({saved.untyped_storage().data_ptr() for saved in maps})

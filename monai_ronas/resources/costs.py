# SPDX-License-Identifier: Apache-2.0
"""Operations, parameters and bytes of an architecture, without building it."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from monai_ronas.errors import SettingError
from monai_ronas.networks.blocks import SearchableConvBlock
from monai_ronas.space import RonasSpace, scaled_channels, skip_points, total_stride

_UPDATE = 3  # copies of the largest kernel that Muon makes beside the gradients; Adam's are about as large
SINGLE, HALF, INDEX = 4, 2, 8  # bytes of float32, of bfloat16 and of an index of max pooling


@dataclass(frozen=True)
class _Maps:
    """What an architecture makes of an input: values in one feature map and a kernel of each stage, and the choices."""

    voxels: int
    counts: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[int, ...]
    skips: tuple[tuple[int, int], ...]


class ArchitectureCosts:
    """Costs of the architectures of a space, from their feature maps in the order of the network's operations.

    The workspace that a convolution takes for itself is left out, and so is the memory of the process and of the data.

    Args:
        space: the architectures.
        channels: channels of the stages at width 1, finest first.
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        amp: training and scoring run in bfloat16 under autocast.
        moments: values that the optimiser keeps of a weight: one for Muon, two for Adam.
        ignore: the loss leaves out voxels that nobody has labelled.

    Example:
        >>> space = RonasSpace((32, 32, 32))
        >>> costs = ArchitectureCosts(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=2)
        >>> costs.macs(space.base)
        341311488
        >>> round(costs.training_bytes(space.base, crops=2) / 2**20)
        33
    """

    def __init__(
        self,
        space: RonasSpace,
        *,
        channels: Sequence[int],
        in_channels: int,
        out_channels: int,
        amp: bool = False,
        moments: int = 1,
        ignore: bool = False,
    ) -> None:
        self.space = space
        self.channels = tuple(channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.amp = amp
        self.moments = moments
        self.ignore = ignore
        self._kernels = tuple(math.prod(kernel) for kernel in space.kernel_sizes)
        self._widest = scaled_channels(self.channels, max(space.widths))
        self._shared = self._parameters(self._widest, skip_points(len(self._widest)), heads=len(self._widest) - 1)

    def supernet_bytes(self) -> int:
        """Bytes of the supernet's weights, of their average in the race, and of the optimiser's moments."""
        return (2 + self.moments) * SINGLE * self._shared

    def _maps(self, architecture: Mapping[str, Any], size: Sequence[int] | None) -> _Maps:
        chosen = self.space.network_kwargs(architecture)
        size = self.space.patch(architecture) if size is None else size
        divisor = total_stride(chosen["strides"], len(size))
        current = [float(-(-s // d) * d) for s, d in zip(size, divisor, strict=True)]  # as the inferer pads to strides
        voxels = math.prod(current)
        counts = []
        for stride in chosen["strides"]:
            current = [c / s for c, s in zip(current, stride, strict=True)]
            counts.append(math.ceil(math.prod(current)))
        channels = self.space.channels(architecture, self.channels)
        return _Maps(int(voxels), tuple(counts), channels, chosen["strides"], self._kernels, chosen["skips"])

    def _joined(self, maps: _Maps, level: int) -> list[int]:
        """Channels of the skips that a decoder level adds."""
        return [maps.channels[j - 1] for i, j in maps.skips if i == level]

    def macs(self, architecture: Mapping[str, Any], size: Sequence[int] | None = None) -> int:
        """Multiply-accumulate operations of the convolutions in one forward pass on one sample.

        Args:
            architecture: the architecture.
            size: spatial size of the input. Default: the architecture's training patch.
        """
        maps = self._maps(architecture, size)
        total, before = 0, self.in_channels
        for width, count, kernel in zip(maps.channels, maps.counts, maps.kernels, strict=True):
            total += count * kernel * (before * width + width * width)
            before = width
        for level in range(1, len(maps.channels)):
            width, count = maps.channels[level - 1], maps.counts[level - 1]
            total += maps.counts[level] * maps.channels[level] * width
            total += count * maps.kernels[level - 1] * 2 * width * width
            total += count * width * sum(self._joined(maps, level))
        return total + maps.counts[0] * maps.channels[0] * self.out_channels

    def parameters(self, architecture: Mapping[str, Any]) -> int:
        """Parameters of the derived network."""
        channels = self.space.channels(architecture, self.channels)
        return self._parameters(channels, self.space.network_kwargs(architecture)["skips"], heads=1)

    def _parameters(self, channels: Sequence[int], skips: Sequence[tuple[int, int]], *, heads: int) -> int:
        total, before = 0, self.in_channels
        for width, kernel in zip(channels, self._kernels, strict=True):
            total += kernel * (before * width + width * width) + 4 * width
            before = width
        for level in range(1, len(channels)):
            width = channels[level - 1]
            total += channels[level] * width + width + self._kernels[level - 1] * 2 * width * width + 4 * width
            total += sum(channels[j - 1] * width + width for i, j in skips if i == level)
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
        value = HALF if amp else SINGLE
        volume, prediction = maps.voxels * self.in_channels * SINGLE, maps.voxels * self.out_channels
        kept, peak, before = 0, maps.voxels * self.in_channels if amp else 0, self.in_channels
        for stride, width, count in zip(maps.strides, maps.channels, maps.counts, strict=True):
            pooled = count * before if max(stride) > 1 else 0
            peak = max(peak, kept + max(pooled + 2 * count * width, 3 * count * width))
            kept += count * width
            before = width
        for level in range(len(maps.channels) - 1, 0, -1):
            width, count = maps.channels[level - 1], maps.counts[level - 1]
            own, matched = count * width, maps.counts[level] * width
            pooled = max((count * c for c in self._joined(maps, level) if c != width), default=0)
            peak = max(peak, kept + max(matched + own, 2 * own + pooled, 4 * own))
            kept += own
        end = value * (kept + prediction) + (SINGLE * prediction if amp else 0)
        return volume + max(value * peak, end)

    def flip_bytes(self, voxels: int) -> tuple[int, int]:
        """What averaging over flips keeps of a volume of so many voxels while the network runs, and needs at most.

        These are a flipped copy of the volume and the sum of the probabilities; then the volume, its copy, the sum, a
        prediction and a slab of an eighth of its probabilities.
        """
        copy, prediction = (SINGLE * voxels * channels for channels in (self.in_channels, self.out_channels))
        return copy + prediction, 2 * copy + 9 * prediction // 4

    def training_bytes(self, architecture: Mapping[str, Any], *, crops: int) -> int:
        """Peak of the bytes alive in a training step on the supernet, with deep supervision and Dice loss.

        The supernet's weights, the optimiser's state and the batch are included.

        Args:
            architecture: the architecture, whose patch is trained.
            crops: crops in the batch.
        """
        maps = self._maps(architecture, None)
        value = HALF if self.amp else SINGLE
        kept = _kept_maps(architecture["activation"])
        saved = maps.voxels * (self.in_channels + 1) * SINGLE
        saved += maps.voxels * self.in_channels * HALF if self.amp else 0
        before = self.in_channels
        for stride, width, count in zip(maps.strides, maps.channels, maps.counts, strict=True):
            saved += count * before * (value + INDEX) if max(stride) > 1 else 0
            saved += 2 * kept * count * width * value
            before = width
        for level in range(1, len(maps.channels)):
            width, count = maps.channels[level - 1], maps.counts[level - 1]
            saved += (2 * kept + 1) * count * width * value
            saved += sum(count * c * (value + INDEX) for c in self._joined(maps, level) if c != width)
        logits = sum(maps.counts[:-1]) * self.out_channels  # each level at its own resolution
        saved += logits * SINGLE
        losses = logits * 3 * SINGLE  # probabilities, their logarithms and the shares of the classes
        losses += logits * 2 * SINGLE if self.ignore else 0  # logits and shares of the labelled voxels
        one_hot = maps.voxels * self._label_bytes(maps.strides[0])
        transient = max(
            1.4 * maps.counts[0] * self.out_channels * SINGLE, 1.15 * maps.counts[0] * maps.channels[0] * value
        )
        batch = crops * (saved + max(losses + transient, one_hot))
        heads = len(maps.channels) - 1
        own = self._parameters(maps.channels, maps.skips, heads=heads)
        if maps.channels != self._widest or self.amp:
            batch += (HALF if self.amp else SINGLE) * own  # copies of the weights
        gradients = SINGLE * self._parameters(self._widest, maps.skips, heads=heads)
        update = gradients + _UPDATE * SINGLE * max(k * w**2 for k, w in zip(self._kernels, self._widest, strict=True))
        return int(max(batch, update)) + self.supernet_bytes()

    def _label_bytes(self, stem: Sequence[int]) -> float:
        """Bytes a voxel while labels become the shares of classes at the finest level.

        At first a class has a value a voxel. Beside it are the label's index, or sums over voxels along two axes, or at
        last the sums and the shares. See :class:`~monai_ronas.losses.AreaDeepSupervisionLoss`.
        """
        cells, classes = math.prod(stem), self.out_channels + self.ignore
        if cells == 1:
            return classes * SINGLE + INDEX
        value = 1 if cells < 256 else SINGLE
        sums = [0.0, *itertools.accumulate((1 / s for s in stem if s > 1), operator.mul), 0.0]
        more = max(value * sum(max(itertools.pairwise(sums), key=sum)), (value + SINGLE) / cells)
        return classes * value + max(INDEX, self.out_channels * more)

    def cost(self, name: str) -> Callable[[Mapping[str, Any]], float]:
        """One of the costs of an architecture by its name.

        Args:
            name: ``"macs"`` of a forward pass on the data's shape, ``"parameters"``, or ``"memory"`` of inference.

        Raises:
            SettingError: when the name is unknown.
        """
        shape = self.space.shape
        costs: dict[str, Callable[[Mapping[str, Any]], float]] = {
            "macs": lambda architecture: self.macs(architecture, shape),
            "parameters": self.parameters,
            "memory": lambda architecture: self.inference_bytes(architecture, shape),
        }
        if name not in costs:
            raise SettingError(f"cost must be null, latency or one of {list(costs)}, received {name!r}.")
        return costs[name]


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

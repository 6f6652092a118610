# SPDX-License-Identifier: Apache-2.0
"""Training crops, made on the device for the patch of the selected architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.transforms import Compose
from monai.utils.type_conversion import convert_to_tensor
from torch.nn import functional as F

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import Architecture
from monai_ronas.utils.ranks import own_generator


class PatchBatch(PrepareBatch):
    """Crop, flip, augment and stack whole volumes to a batch of the patch that the network's architecture trains with.

    Every batch takes about the same number of operations: an architecture with a smaller patch gets more crops, one
    that keeps a higher resolution fewer, but at least one. Crops are cut, never
    resized; a volume smaller than the patch is padded with zeros on both sides. Under a limit of memory, a batch has
    no more crops than fit.

    In many processes that share a step, each draws crops of its own, and :attr:`generator` is the same for all.

    Args:
        network: the supernet; ``network.architecture`` tells the patch.
        batch_size: crops in a batch of the base architecture's patch.
        resources: costs of the architectures, and the limit. Default: those of ``network``, without a limit.
        foreground: share of the crops that are centred on a foreground voxel: first a class is drawn among those that
            the case has, each as likely as the others, then a voxel of that class.
        flip_axes: spatial axes that are flipped with probability one half. Default: all.
        transposed_axes: two spatial axes that change places with probability one half. Default: none.
        augmentation: random transforms of a crop ``{"image": ..., "label": ...}``, run on the device. They are seeded
            anew for each batch, so that crops and augmentation depend on :attr:`generator` alone.
        seed: seed of the crops, flips and augmentation.
        channels_last: put the images in the channels-last memory format.

    Example:
        >>> from monai_ronas.space import RonasSpace
        >>> supernet = RonasSuperNet(RonasSpace((16, 16, 16), stages=2), in_channels=1, out_channels=2, channels=(4, 8))
        >>> case = {"image": torch.randn(1, 20, 24, 18), "label": torch.zeros(1, 20, 24, 18)}
        >>> images, labels = PatchBatch(supernet, batch_size=2)([case, case], device="cpu")
        >>> tuple(images.shape), tuple(labels.shape)
        ((2, 1, 16, 16, 16), (2, 1, 16, 16, 16))
    """

    def __init__(
        self,
        network: RonasSuperNet,
        *,
        batch_size: int,
        resources: ResourceEstimator | None = None,
        foreground: float = 0.33,
        flip_axes: Sequence[int] | None = None,
        transposed_axes: tuple[int, int] | None = None,
        augmentation: Compose | None = None,
        seed: int = 0,
        channels_last: bool = True,
    ) -> None:
        self.network = network
        self.batch_size = batch_size
        widths = {k: network.kwargs[k] for k in ("channels", "in_channels", "out_channels")}
        self.resources = resources or ResourceEstimator(network.space, **widths)
        self.foreground = foreground
        self.flip_axes = tuple(range(len(network.space.shape)) if flip_axes is None else flip_axes)
        self.transposed_axes = transposed_axes
        self.augmentation = augmentation
        self.channels_last = channels_last
        self._known: dict[Architecture, int] = {}
        self.generator = torch.Generator().manual_seed(seed)
        self._drawing = self.generator

    def crops(self, architecture: Architecture) -> int:
        """Crops in a batch of an architecture: the operations of a batch of the base network, within the memory."""
        if architecture not in self._known:
            macs = [self.resources.macs(a) for a in (self.network.space.base, architecture)]
            equal = max(1, round(self.batch_size * macs[0] / macs[1]))
            fitting = (n for n in range(equal, 1, -1) if self.resources.fits(architecture, crops=n))
            self._known[architecture] = next(fitting, 1)
        return self._known[architecture]

    def lower_limit(self, memory_gb: float) -> None:
        """Let batches need no more than ``memory_gb`` GiB, such as was learnt before an interruption."""
        self.resources.memory_gb = min(memory_gb, self.resources.memory_gb or memory_gb)
        self._known.clear()

    def learn_limit(self, architecture: Architecture, *, crops: int) -> None:
        """Take note that a batch of an architecture was too large for the memory."""
        self.resources.learn_limit(architecture, crops=crops)
        self._known.clear()

    def __call__(
        self,
        batchdata: Sequence[Mapping[str, Any]],  # type: ignore[override]
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Make a batch.

        Args:
            batchdata: volumes as dictionaries of ``image`` ``(C, H, W[, D])``, ``label`` ``(1, H, W[, D])`` and,
                where crops may be centred on foreground, ``label_class_indices`` and ``label_class_counts``, as
                :class:`monai_ronas.data.ClassIndicesd` gives them. Volumes may lie on the device already; what tells
                where to cut should be on the CPU.
            device: where to put the batch.
            non_blocking: passed to ``Tensor.to``.
            kwargs: passed to ``Tensor.to``.

        Returns:
            images ``(N, C, *patch)`` and labels ``(N, 1, *patch)``.
        """
        architecture = self.network.architecture
        patch = self.network.space.patch(architecture)
        self._drawing = own_generator(self.generator)
        if self.augmentation is not None:
            self.augmentation.set_random_state(seed=int(torch.randint(2**31, (), generator=self._drawing)))
        crops: list[Any] = []
        for n in range(self.crops(architecture)):
            case = batchdata[n % len(batchdata)]
            order = list(range(len(patch)))
            if self.transposed_axes is not None and self._uniform() < 0.5:
                first, second = self.transposed_axes
                order[first], order[second] = second, first
            window = (slice(None), *self._window(case, [patch[axis] for axis in order]))
            flips = [a + 1 for a in self.flip_axes if self._uniform() < 0.5]
            crop: Any = {
                key: case[key][window]
                .to(device=device, non_blocking=non_blocking, **kwargs)
                .float()
                .permute(0, *(axis + 1 for axis in order))
                .flip(flips)
                for key in ("image", "label")
            }
            crops.append(crop if self.augmentation is None else self.augmentation(crop))
        plain: Any = convert_to_tensor(crops, track_meta=False)
        image, label = (torch.stack([_fit(crop[key], patch) for crop in plain]) for key in ("image", "label"))
        if self.channels_last:
            image = image.to(memory_format=torch.channels_last_3d if image.dim() == 5 else torch.channels_last)
        return image, label

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self._drawing))

    def _window(self, case: Mapping[str, Any], patch: Sequence[int]) -> tuple[slice, ...]:
        """A random window of at most ``patch`` inside the volume, now and then around a voxel of a class."""
        shape = case["label"].shape[1:]
        centre = None
        classes = _classes(case)
        if classes and self._uniform() < self.foreground:
            indices = classes[int(self._uniform() * len(classes))]
            flat = int(indices[int(self._uniform() * len(indices))])
            centre = torch.unravel_index(torch.tensor(flat), shape)
        window = []
        for axis, (size, length) in enumerate(zip(shape, patch, strict=True)):
            free = max(size - length, 0)
            if centre is None:
                start = int(self._uniform() * (free + 1))
            else:
                start = min(max(int(centre[axis]) - length // 2, 0), free)
            window.append(slice(start, start + length))
        return tuple(window)


def _classes(case: Mapping[str, Any]) -> list[torch.Tensor]:
    """Flat indices of the voxels of each class that the case has."""
    if "label_class_indices" not in case:
        return []
    classes = case["label_class_indices"].split(case["label_class_counts"].tolist())
    return [indices for indices in classes if len(indices)]


def _fit(volume: torch.Tensor, patch: Sequence[int]) -> torch.Tensor:
    """Pad with zeros on both sides up to the patch."""
    missing = [max(p - s, 0) for s, p in zip(volume.shape[1:], patch, strict=True)]
    if not any(missing):
        return volume
    return F.pad(volume, [p for m in reversed(missing) for p in (m // 2, m - m // 2)])

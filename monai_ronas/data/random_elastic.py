# SPDX-License-Identifier: Apache-2.0
"""Random elastic and affine deformation of training crops, at little more than the price of the latter."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandAffineGrid, RandomizableTransform, Resample
from monai.transforms.utils import create_grid
from monai.utils import convert_to_tensor, ensure_tuple_rep
from torch.nn import functional as F

from monai_ronas.data.symmetries import thick_axis


class RandElasticd(RandomizableTransform, MapTransform):
    """Displace, rotate and scale a crop at random, by one resampling; within thick slices only.

    Points of a coarse grid are displaced by normal random numbers, all voxels between them by linear interpolation.
    MONAI's ``Rand3DElasticd`` draws numbers for every voxel and smooths them, which takes longer and more memory
    (``bundles/ronas/docs/experiments.md``, "Elastic deformation").

    Args:
        keys: of what is deformed alike: tensors ``(C, X, Y[, Z])`` of one shape.
        voxel_size: per axis, in mm. Across thick slices (:func:`~monai_ronas.data.thick_axis`) nothing moves.
        prob: how likely a crop is deformed.
        rotate_range: largest rotation about each axis, in radians.
        scale_range: largest change of each axis' scale.
        displacement_range: smallest and largest standard deviation of the points' displacement, in voxels; it is
            drawn for each crop.
        control_spacing: largest distance of neighbouring points, in voxels.
        mode: interpolation, for all keys or for each, as in MONAI's ``Resample``.
        padding_mode: what lies outside, as in ``Resample``.
        device: on which the grid is made, and the result lies.

    Raises:
        ValueError: where an item has another number of axes than ``voxel_size``.

    Example:
        >>> deform = RandElasticd(["image", "label"], (1.0, 1.0, 8.0), prob=1.0, mode=("bilinear", "nearest"))
        >>> crop = deform({"image": torch.rand(2, 32, 32, 6), "label": torch.ones(1, 32, 32, 6)})
        >>> tuple(crop["image"].shape), crop["label"].unique().tolist()
        ((2, 32, 32, 6), [0.0, 1.0])
    """

    def __init__(
        self,
        keys: KeysCollection,
        voxel_size: Sequence[float],
        *,
        prob: float = 0.1,
        rotate_range: float = 0.26,
        scale_range: float = 0.15,
        displacement_range: tuple[float, float] = (0.5, 3.5),
        control_spacing: float = 14.0,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "zeros",
        device: torch.device | None = None,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        thick, axes = thick_axis(voxel_size), range(len(voxel_size))
        self.moved = [float(axis != thick) for axis in axes]
        rotate = [rotate_range if thick in (None, axis) else 0.0 for axis in axes]
        self.affine = RandAffineGrid(
            rotate_range=rotate if len(rotate) == 3 else rotate_range,
            scale_range=[scale_range * share for share in self.moved],
            device=device,
        )
        self.displacement_range = displacement_range
        self.control_spacing = control_spacing
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))
        self.device = device
        self.resample = Resample(device=device)
        self.offset = torch.zeros(0)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandElasticd:
        """Seed the displacements and the affine transforms."""
        self.affine.set_random_state(seed, state)
        super().set_random_state(seed, state)
        return self

    def randomize(self, shape: Sequence[int]) -> None:
        """Draw whether a crop of a spatial shape is deformed, and how its points are displaced."""
        super().randomize(None)
        if not self._do_transform:
            return
        points = [max(2, math.ceil((length - 1) / self.control_spacing) + 1) for length in shape]
        deviation = self.R.uniform(*self.displacement_range) * np.array(self.moved).reshape(-1, *[1] * len(shape))
        self.offset = torch.from_numpy(deviation * self.R.normal(size=(len(shape), *points))).float()
        self.affine.randomize()

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Deform an item, or leave it as it is."""
        item: dict[Hashable, Any] = dict(data)
        shape = item[self.first_key(item)].shape[1:]
        if len(shape) != len(self.moved):
            raise ValueError(f"the item has {len(shape)} spatial axes, voxel_size {len(self.moved)}.")
        self.randomize(shape)
        if not self._do_transform:
            return item
        grid: Any = create_grid(shape, device=self.device, backend="torch")
        if self.offset.any():
            smooth = "trilinear" if len(shape) == 3 else "bilinear"
            offset = self.offset.to(grid.device).unsqueeze(0)
            grid[:-1] += F.interpolate(offset, size=tuple(shape), mode=smooth, align_corners=True)[0]
        grid = self.affine(grid=grid, randomize=False)
        for key, mode, padding_mode in self.key_iterator(item, self.mode, self.padding_mode):
            item[key] = self.resample(convert_to_tensor(item[key]), grid, mode=mode, padding_mode=padding_mode)
        return item

# SPDX-License-Identifier: Apache-2.0
"""Resampling to another voxel size, axis by axis and slab by slab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Spacingd, SpatialResample
from monai.transforms.inverse import TraceableTransform
from monai.utils import TraceKeys

from monai_ronas.data.pieces import PIECE

_STRAIGHT = 1e-5  # of an entry beside the diagonal, in voxels per voxel
_MODES = ("bilinear", "nearest")


class SlabSpacingd(Spacingd):
    """MONAI's ``Spacingd``, which needs no more memory than its input, its result and a slab.

    ``Spacingd`` makes a grid of coordinates in float64, 72 bytes a voxel at its peak. Where the axes stay as they are,
    which is wherever they are at right angles, the interpolation is one along each axis in turn: that is how it is done
    here, in float32, with coordinates in float64, the edges repeated. What is not at right angles goes through MONAI's
    own. ``Invertd`` inverts it in the same way.

    Args:
        keys: keys of volumes ``(C, X, Y, Z)`` with their affine.
        pixdim: size of the voxels in mm.
        mode: ``"bilinear"`` or ``"nearest"``, for each key.

    Example:
        >>> volume = MetaTensor(torch.arange(4.0).reshape(1, 4, 1, 1), affine=torch.eye(4))
        >>> SlabSpacingd("image", pixdim=(1.5, 1, 1), mode="bilinear")({"image": volume})["image"].flatten().tolist()
        [0.0, 1.5, 3.0]
    """

    def __init__(self, keys: KeysCollection, pixdim: Sequence[float], mode: str | Sequence[str] = "bilinear") -> None:
        super().__init__(keys, pixdim, mode=mode)
        self.spacing_transform.sp_resample = SlabResample()


class SlabResample(SpatialResample):
    """MONAI's ``SpatialResample``, which resamples in slabs where the axes stay as they are."""

    def __call__(
        self,
        img: torch.Tensor,
        dst_affine: torch.Tensor | None = None,
        spatial_size: Any = None,
        mode: str | int | None = None,
        padding_mode: str | None = None,
        align_corners: bool | None = None,
        dtype: Any = None,
        lazy: bool | None = None,
    ) -> torch.Tensor:
        """Resample a volume ``(C, X, Y, Z)``; the arguments are those of MONAI's transform."""
        mode = self.mode if mode is None else mode
        matrix = None if dst_affine is None or spatial_size is None or lazy else _straight(img, dst_affine)
        edges = (padding_mode or self.padding_mode) == "border" and not align_corners
        if matrix is None or mode not in _MODES or not edges or _unchanged(img, matrix, spatial_size):
            return super().__call__(img, dst_affine, spatial_size, mode, padding_mode, align_corners, dtype, lazy)
        size = [int(length) for length in spatial_size]
        meta = TraceableTransform.track_transform_meta(
            img,
            sp_size=size,
            affine=torch.from_numpy(matrix),
            extra_info={
                "dtype": "float32",
                "mode": str(mode),
                "padding_mode": "border",
                "align_corners": False,
                "src_affine": img.affine,  # type: ignore[attr-defined]
            },
            orig_size=tuple(img.shape[1:]),
            transform_info=self.get_transform_info(),
        )
        values = resample_slabs(img.as_tensor(), matrix, size, mode=str(mode))  # type: ignore[attr-defined]
        return MetaTensor(values).copy_meta_from(meta)

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Resample back to the grid that the volume came from."""
        transform = self.pop_transform(data)
        told = transform[TraceKeys.EXTRA_INFO]
        with self.trace_transform(False):
            return self(
                data,
                dst_affine=told["src_affine"],
                spatial_size=transform[TraceKeys.ORIG_SIZE],
                mode=told["mode"],
                padding_mode=told["padding_mode"],
                align_corners=told["align_corners"] is True,
            )


def resample_slabs(image: torch.Tensor, matrix: np.ndarray, size: Sequence[int], *, mode: str) -> torch.Tensor:
    """Interpolate a volume along each axis.

    Args:
        image: ``(C, X, Y, Z)``.
        matrix: from voxels of the result to those of the image, ``(4, 4)``, diagonal but for the last column.
        size: voxels of the result along each axis.
        mode: ``"bilinear"`` or ``"nearest"``; a voxel in the middle between two is the even one's.

    Returns:
        ``(C, *size)``, float32.
    """
    axes = [_Axis(image, axis, matrix, length, mode) for axis, length in enumerate(size)]
    result = torch.empty((len(image), *size), dtype=torch.float32, device=image.device)
    step = max(1, PIECE * size[0] // max(1, result[0].numel()))
    for channel, target in zip(image, result, strict=True):
        for start in range(0, size[0], step):
            part = slice(start, min(start + step, size[0]))
            slab = axes[0](channel, part)
            for axis in axes[1:]:
                slab = axis(slab, slice(None))
            target[part] = slab
    return result


class _Axis:
    """Interpolation along one axis of a volume ``(X, Y, Z)``."""

    def __init__(self, image: torch.Tensor, axis: int, matrix: np.ndarray, length: int, mode: str) -> None:
        self.axis = axis
        last = image.shape[axis + 1] - 1
        places = (matrix[axis, axis] * np.arange(length) + matrix[axis, -1]).clip(0, last)
        places = places.round(6)  # a place in the middle of two voxels is there, whatever the affine was rounded to
        lower = np.rint(places) if mode == "nearest" else np.floor(places)
        self.lower, self.upper = (
            torch.from_numpy(index.astype(np.int64)).to(image.device) for index in (lower, (lower + 1).clip(0, last))
        )
        weights = torch.from_numpy((places - lower).astype(np.float32)).to(image.device)
        self.weights = None if mode == "nearest" else weights.reshape([-1 if axis == k else 1 for k in range(3)])

    def __call__(self, volume: torch.Tensor, part: slice) -> torch.Tensor:
        found = volume.index_select(self.axis, self.lower[part])
        if self.weights is None:
            return found
        weights = self.weights[part] if self.axis == 0 else self.weights
        return found.float().lerp_(volume.index_select(self.axis, self.upper[part]).float(), weights)


def _straight(image: torch.Tensor, target: torch.Tensor) -> np.ndarray | None:
    """The matrix from the voxels of the target grid to the image's, where it mixes no axes."""
    if not isinstance(image, MetaTensor) or image.ndim != 4 or image.pending_operations:
        return None
    given = (np.asarray(image.affine, dtype=np.float64), np.asarray(target, dtype=np.float64))
    if any(affine.shape != (4, 4) for affine in given):
        return None
    matrix = np.linalg.solve(*given)
    turned = matrix[:3, :3] - np.diag(np.diag(matrix)[:3])
    return matrix if np.abs(turned).max() < _STRAIGHT else None


def _unchanged(image: torch.Tensor, matrix: np.ndarray, size: Any) -> bool:
    return tuple(int(length) for length in size) == tuple(image.shape[1:]) and np.allclose(matrix, np.eye(4), atol=1e-3)

# SPDX-License-Identifier: Apache-2.0
"""Large volumes in pieces, so that work on them takes little memory beside the volume itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

PIECE = 2**22
"""Values in a piece."""


def pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    """The values of an array as one-dimensional pieces, in the order in which they lie in memory.

    Args:
        values: of any shape; only an array that is not contiguous is copied.

    Example:
        >>> [piece.tolist() for piece in pieces(np.array([[1, 2], [3, 4]], order="F"))]
        [[1, 3, 2, 4]]
    """
    flat = values.ravel(order="K")
    for start in range(0, flat.size, PIECE):
        yield flat[start : start + PIECE]


def read_image(file: Any) -> np.ndarray:
    """The voxels of an image file of nibabel, slab by slab: as stored where they are whole numbers of up to 2 bytes.

    Args:
        file: what ``nibabel.load`` gives; with ``keep_file_open=True`` a compressed file is decompressed only once.

    Returns:
        The voxels in the file's shape and order; float32 where they are scaled, floating point or larger.
    """
    proxy = file.dataobj
    stored = np.dtype(file.get_data_dtype())
    unscaled = getattr(proxy, "slope", None) == 1 and getattr(proxy, "inter", None) == 0
    keep = unscaled and stored.kind in "iu" and stored.itemsize <= np.dtype(np.int16).itemsize
    image = np.empty(file.shape, dtype=stored.newbyteorder("=") if keep else np.float32, order="F")
    if image.size:
        step = max(1, PIECE * image.shape[-1] // image.size)
        for start in range(0, image.shape[-1], step):
            image[..., start : start + step] = proxy[..., start : start + step]
    return image


def narrowed(label: np.ndarray) -> np.ndarray:
    """A label in the smallest integers that hold its values; as it is where they are not whole numbers.

    Args:
        label: values of any type and shape.

    Example:
        >>> narrowed(np.array([0.0, 300.0])).dtype
        dtype('uint16')
    """
    if label.dtype.kind not in "iuf" or not label.size or label.dtype.itemsize == 1:
        return label
    if label.dtype.kind == "f" and not all(np.array_equal(piece, np.rint(piece)) for piece in pieces(label)):
        return label
    lowest, highest = label.min(), label.max()
    if not np.isfinite([lowest, highest]).all():
        return label
    kind = np.min_scalar_type(int(highest) if lowest >= 0 else min(int(lowest), -int(highest) - 1))
    return label.astype(kind) if kind.kind in "iu" and kind.itemsize < label.dtype.itemsize else label

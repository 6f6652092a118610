# SPDX-License-Identifier: Apache-2.0
"""Cases told apart by what their images hold, whatever their files are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from monai_ronas.data.case import Case
from monai_ronas.data.pieces import pieces
from monai_ronas.data.reading import read_volume, volume_shape
from monai_ronas.data.sizes import bounded_map, case_values

_BYTES_PER_VALUE = 8  # of memory, at the peak
_MOST_WORKERS = 8


def image_digest(image: np.ndarray) -> str:
    """The same for the same voxels in the same order: the image's shape, and a hash.

    Args:
        image: real values of any type, ``(X, Y, Z, C)``.

    Example:
        >>> image_digest(np.zeros((2, 3, 4, 1), np.float32)).partition("-")[0]
        '2x3x4x1'
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces(image.ravel(order="F")):  # in the order of the file, which needs no copy
        digest.update(piece.astype(np.float32, copy=False).data)
    return f"{_shape_words(image.shape)}-{digest.hexdigest()}"


def known_cases(cases: Sequence[Case], digests: Mapping[str, str]) -> dict[str, str]:
    """Cases whose images are those of cases that are known already.

    Only images of the shape of a known one are decoded.

    Args:
        cases: the cases.
        digests: :func:`image_digest` of the known images, by the name of their case.

    Returns:
        the name of the known case by the name of each case that is one; a case that cannot be read is none.
    """
    names = {digest: name for name, digest in digests.items()}
    shapes = {digest.partition("-")[0] for digest in names}
    alike = [case for case in cases if _shape_by_header(case) in shapes]
    found = bounded_map(_digest, alike, lambda case: _BYTES_PER_VALUE * sum(case_values(case)), most=_MOST_WORKERS)
    return {case.name: names[digest] for case, digest in zip(alike, found, strict=True) if digest in names}


def _shape_by_header(case: Case) -> str | None:
    try:
        return _shape_words(volume_shape(case.images))
    except Exception:  # whatever a broken file makes the reader raise: who uses the case tells it
        return None


def _digest(case: Case) -> str | None:
    try:
        image, _ = read_volume(case.images, real=True)
    except Exception:  # likewise, or the decompressor
        return None
    return image_digest(image.reshape(*image.shape[:3], -1))


def _shape_words(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))

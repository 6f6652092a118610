# SPDX-License-Identifier: Apache-2.0
"""Cases told apart by what their images hold, whatever their files are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nibabel as nib
import numpy as np

from monai_ronas.data.msd import Case
from monai_ronas.data.sizes import bounded_workers, case_values

_BYTES_PER_VALUE = 8  # of memory, at the peak
_MOST_WORKERS = 8


def image_digest(image: np.ndarray) -> str:
    """The same for the same voxels in the same order: the image's shape, and a hash.

    Args:
        image: values in float32, ``(X, Y, Z, C)``.

    Example:
        >>> image_digest(np.zeros((2, 3, 4, 1), np.float32)).partition("-")[0]
        '2x3x4x1'
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.ascontiguousarray(image.T).data)  # in the order of the file, which needs no copy
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
    alike = [case for case in cases if _header_shape(case) in shapes]
    workers = bounded_workers([case_values(c) for c in alike], bytes_per_value=_BYTES_PER_VALUE, most=_MOST_WORKERS)
    with ThreadPoolExecutor(workers) as pool:
        found = zip(alike, pool.map(_case_digest, alike), strict=True)
        return {case.name: names[digest] for case, digest in found if digest in names}


def _header_shape(case: Case) -> str | None:
    try:
        image: Any = nib.load(case.image)
    except Exception:  # whatever a broken file makes the reader raise: who uses the case tells it
        return None
    return _shape_words((*image.shape[:3], int(np.prod(image.shape[3:]))))


def _case_digest(case: Case) -> str | None:
    try:
        image = nib.load(case.image).get_fdata(dtype=np.float32)  # type: ignore[attr-defined]
    except Exception:  # likewise, or the decompressor
        return None
    return image_digest(image.reshape(*image.shape[:3], -1))


def _shape_words(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))

# SPDX-License-Identifier: Apache-2.0
"""A preprocessed case in the form in which it is kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from monai.utils.type_conversion import convert_to_tensor


class CompactCase(Transform):
    """The last of the deterministic transforms: a case of plain tensors, each contiguous, and small ones where it can.

    Images stay as they are: float32 keeps every prediction equal, to the last bit, to that of a case that was never
    kept. Labels of whole numbers become uint8, or int16 or int32 where a value is above 255.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make a case compact.

        Args:
            data: the case, with ``image`` ``(C, H, W, D)`` and ``label`` ``(1, H, W, D)``.

        Returns:
            The case.
        """
        case = {key: _plain(value) for key, value in data.items()}
        case["label"] = _small_integers(case["label"])
        return {key: _owned(value) if isinstance(value, torch.Tensor) else value for key, value in case.items()}


def _plain(value: Any) -> Any:
    """An array or tensor as a plain tensor; anything else, such as a number, as it is."""
    return convert_to_tensor(value, track_meta=False) if isinstance(value, (np.ndarray, torch.Tensor)) else value


def _small_integers(label: torch.Tensor) -> torch.Tensor:
    """The label in the smallest integers that hold its values; as it is where they are not whole numbers."""
    if label.is_floating_point() and not torch.equal(label, label.round()):
        return label
    lowest, highest = int(label.min()), int(label.max())
    for kind in (torch.uint8, torch.int16, torch.int32):
        if torch.iinfo(kind).min <= lowest and highest <= torch.iinfo(kind).max:
            return label.to(kind)
    return label


def _owned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in order of its indices and without the rest of a larger one that it is a view of."""
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor

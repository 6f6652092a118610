# SPDX-License-Identifier: Apache-2.0
"""From the prediction of many classes to the most likely one, with little memory beside the prediction."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.transforms import MapTransform

_SLABS = 16


def most_likely(prediction: torch.Tensor, *, dim: int = 1) -> torch.Tensor:
    """The index of the class with the largest value, for each voxel.

    Args:
        prediction: logits or probabilities, with the classes along ``dim``; a single channel holds class indices
            already.
        dim: 1 for ``(B, C, H, W[, D])``, 0 for ``(C, H, W[, D])``.

    Returns:
        Indices of the same shape with one channel, uint8 for up to 256 classes and int32 for more.

    Example:
        >>> most_likely(torch.tensor([[[0.1, 0.9], [0.9, 0.1]]]))
        tensor([[[1, 0]]], dtype=torch.uint8)
    """
    classes = prediction.shape[dim]
    if classes == 1:
        return prediction
    kind = torch.uint8 if classes <= 2**8 else torch.int32
    step = max(1, -(-prediction.shape[dim + 1] // _SLABS))
    return torch.cat([p.argmax(dim, keepdim=True).to(kind) for p in prediction.split(step, dim + 1)], dim + 1)


class MostLikelyd(MapTransform):
    """:func:`most_likely` of predictions ``(C, H, W[, D])`` of an item; class indices stay.

    Args:
        keys: keys of predictions.
        allow_missing_keys: as in MONAI.
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Replace the predictions."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = most_likely(item[key], dim=0)
        return item

# SPDX-License-Identifier: Apache-2.0
"""Voxels that nobody has labelled, kept out of the scores."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform


class IgnoredToBackgroundd(MapTransform):
    """Make background of the voxels to be ignored, in prediction and label, so that no foreground score sees them.

    Args:
        keys: predictions, logits or probabilities ``(C, H, W[, D])``, or class indices ``(1, H, W[, D])``.
        label_key: class indices ``(1, H, W[, D])``, ``C`` where a voxel is to be ignored.
        num_classes: ``C``, needed where predictions may be class indices.
        allow_missing_keys: as in MONAI.

    Example:
        >>> item = {"pred": torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]]), "label": torch.tensor([[[1, 2]]])}
        >>> item = IgnoredToBackgroundd("pred")(item)
        >>> item["pred"].argmax(dim=0), item["label"]
        (tensor([[1, 0]]), tensor([[[1, 0]]]))
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        label_key: str = "label",
        num_classes: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.num_classes = num_classes

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the item; where no voxel is to be ignored, as it is."""
        item = dict(data)
        label = item[self.label_key]
        for key in self.key_iterator(item):
            ignored = label >= (self.num_classes or len(item[key]))
            if bool(ignored.any()):
                pred = item[key].masked_fill(ignored.to(item[key].device), 0)
                if len(pred) > 1:
                    pred[:1].masked_fill_(ignored.to(pred.device), 1)
                item[key] = pred
                item[self.label_key] = label.masked_fill(ignored, 0)
        return item

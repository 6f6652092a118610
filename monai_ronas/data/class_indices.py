# SPDX-License-Identifier: Apache-2.0
"""Where the voxels of each class lie, so that crops can be centred on them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils.type_conversion import convert_to_tensor


class ClassIndicesd(MapTransform):
    """Add the flat indices of the voxels of each foreground class, and their number.

    ``<key>_class_indices`` has the indices, one class after the other, ``<key>_class_counts`` the number of each.

    MONAI's ``ClassesToIndicesd`` lists the background's voxels too, at 8 bytes each, and goes over the whole volume
    once for each class; this one goes over it once and keeps 4 bytes for each voxel of a class.

    Args:
        keys: label keys, ``(1, H, W[, D])`` with the values 0 (background) to ``num_classes - 1``.
        num_classes: number of classes, background included.
        max_samples_per_class: indices that are kept of a class at most, evenly spread over all of them.

    Example:
        >>> label = torch.tensor([[[0, 2, 2, 0]]])
        >>> item = ClassIndicesd(keys="label", num_classes=3)({"label": label})
        >>> item["label_class_indices"], item["label_class_counts"]
        (tensor([1, 2], dtype=torch.int32), tensor([0, 2]))
    """

    def __init__(self, keys: KeysCollection, *, num_classes: int, max_samples_per_class: int = 100_000) -> None:
        super().__init__(keys)
        self.num_classes = num_classes
        self.max_samples_per_class = max_samples_per_class

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the indices to an item.

        Args:
            data: the item.

        Returns:
            the item with two more entries for each key: the indices ``(n,)``, of type int32 where it suffices, and
            their counts ``(num_classes - 1,)``, 0 for a class that the label does not have.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            classes = self._indices(convert_to_tensor(item[key], track_meta=False).flatten())
            item[f"{key}_class_indices"] = torch.cat(classes)
            item[f"{key}_class_counts"] = torch.tensor([len(indices) for indices in classes])
        return item

    def _indices(self, flat: torch.Tensor) -> list[torch.Tensor]:
        foreground = flat.nonzero().flatten()
        values = flat[foreground]
        if flat.numel() <= torch.iinfo(torch.int32).max:
            foreground = foreground.int()
        return [self._spread(foreground[values == value]) for value in range(1, self.num_classes)]

    def _spread(self, indices: torch.Tensor) -> torch.Tensor:
        if len(indices) <= self.max_samples_per_class:
            return indices
        chosen = torch.linspace(0, len(indices) - 1, self.max_samples_per_class, dtype=torch.float64)
        return indices[chosen.round().long()]

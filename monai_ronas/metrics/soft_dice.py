# SPDX-License-Identifier: Apache-2.0
"""Dice of probabilities, which tells networks apart where the hard Dice is still zero or jumps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

_SLAB = 16  # planes


def soft_dice(logits: torch.Tensor, label: torch.Tensor, *, num_classes: int | None = None) -> torch.Tensor:
    """Soft Dice of each foreground class of a volume: ``2 sum(p y) / (sum(p) + sum(y))``.

    The volume is taken in slabs of a few planes, so that little memory is needed beside the logits.

    Args:
        logits: ``(C, H, W[, D])``, or class indices ``(1, H, W[, D])``, whose Dice is the hard one.
        label: class indices ``(1, H, W[, D])``; voxels with ``C`` or more count nowhere.
        num_classes: number of classes; needed where ``logits`` holds class indices.

    Returns:
        ``(C - 1,)``, NaN for a class that the label does not have.

    Raises:
        ValueError: when ``logits`` holds class indices and ``num_classes`` is not given.

    Example:
        >>> label = torch.tensor([[[0, 1, 1]]])
        >>> soft_dice(torch.zeros(2, 1, 3), label)
        tensor([0.5714])
    """
    hard = len(logits) == 1
    if hard and num_classes is None:
        raise ValueError("num_classes is needed for the Dice of class indices.")
    classes = range(1, num_classes or 0) if hard else range(1, len(logits))
    common, predicted, true = torch.zeros(3, len(classes), dtype=torch.float64, device=logits.device)
    for part, truth in zip(logits.split(_SLAB, dim=1), label.split(_SLAB, dim=1), strict=True):
        probabilities = part if hard else part.float().softmax(dim=0)
        counts = truth[0] <= len(classes)
        for n, k in enumerate(classes):
            is_class, probability = truth[0] == k, part[0] == k if hard else probabilities[k]
            common[n] += (probability * is_class).sum()
            predicted[n] += (probability * counts).sum()
            true[n] += is_class.sum()
    dice = 2 * common / (predicted + true)
    return torch.where(true > 0, dice, torch.nan).float()


class SoftDiced(MapTransform):
    """Put the :func:`soft_dice` of a prediction into the item, before it is made discrete.

    Args:
        keys: the predicted logits.
        label_key: the label.
        output_key: where the result goes.
        num_classes: number of classes; needed where predictions may be class indices.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        label_key: str = "label",
        output_key: str = "soft_dice",
        num_classes: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.output_key = output_key
        self.num_classes = num_classes

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Add the soft Dice."""
        item = dict(data)
        for key in self.key_iterator(item):
            logits, label = (convert_to_tensor(item[k], track_meta=False) for k in (key, self.label_key))
            item[self.output_key] = soft_dice(logits, label.to(logits.device), num_classes=self.num_classes)
        return item

# SPDX-License-Identifier: Apache-2.0
"""Deep supervision with every level at its own resolution."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from monai.losses import DeepSupervisionLoss
from monai.networks import one_hot


class AreaDeepSupervisionLoss(DeepSupervisionLoss):
    """MONAI's deep supervision, where a coarser level is compared with the share of each class in its voxels.

    A level's target is the mean of the one-hot label over each of its voxels, so that nothing is interpolated to the
    input's resolution: the loss of a level costs what the level costs. Taking the label's nearest voxel instead would
    move the target by half a fine voxel.

    Args:
        loss: loss of logits ``(B, C, ...)`` and class shares ``(B, C, ...)``, such as MONAI's ``DiceCELoss`` with
            ``softmax`` and without ``to_onehot_y``.
        weight_mode: as in MONAI's class: ``"exp"`` halves the weight from level to level.
        weights: as in MONAI's class.
        ignore: labels may hold ``C``, the number of classes, where a voxel is to be ignored. Each level's loss is that
            of its other voxels, all of the batch as one sample; a coarse voxel goes by its fine voxels that count.

    Example:
        >>> from monai.losses import DiceCELoss
        >>> loss = AreaDeepSupervisionLoss(DiceCELoss(softmax=True))
        >>> levels = [torch.zeros(1, 2, 8, 8, 8), torch.zeros(1, 2, 4, 4, 4)]
        >>> loss(levels, torch.ones(1, 1, 8, 8, 8)).shape
        torch.Size([])
    """

    def __init__(
        self, loss: Any, weight_mode: str = "exp", weights: list[float] | None = None, *, ignore: bool = False
    ) -> None:
        super().__init__(loss, weight_mode, weights)
        self.ignore = ignore

    def forward(  # type: ignore[override]
        self, input: torch.Tensor | list[torch.Tensor], target: torch.Tensor
    ) -> torch.Tensor:
        """Loss of a list of logits, finest first, or of one.

        Args:
            input: logits ``(B, C, ...)``, whose axes divide those of the label.
            target: label values ``(B, 1, ...)``.
        """
        levels = input if isinstance(input, (list, tuple)) else [input]
        weights = self.get_weights(levels=len(levels))
        classes = levels[0].shape[1]
        cells = math.prod(target.shape[2:]) // math.prod(levels[0].shape[2:])
        small = torch.uint8 if 1 < cells < 256 else torch.float32  # for sums of zeros and ones
        shares = _area(
            one_hot(target, num_classes=classes + self.ignore, dtype=small)[:, :classes], levels[0].shape[2:]
        )
        total = torch.zeros((), device=target.device)
        for weight, logits in zip(weights, levels, strict=True):
            shares = _area(shares, logits.shape[2:])
            loss = self._of_labelled if self.ignore else self.loss
            total = total + weight * loss(logits.float(), shares)
        return total

    def _of_labelled(self, logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """The loss of the voxels that have any share of a class."""
        known = shares.sum(dim=1)
        labelled = known > 0
        chosen, target = (values.movedim(1, -1)[labelled] for values in (logits, shares))
        if not len(chosen):
            return 0.0 * logits.sum()
        target = target / known[labelled][:, None]
        return cast(torch.Tensor, self.loss(chosen.T[None], target.T[None]))


def _area(shares: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The shares at a coarser resolution."""
    if shares.shape[2:] == size:
        return shares
    stride = [fine // coarse for fine, coarse in zip(shares.shape[2:], size, strict=True)]
    if any(s * coarse != fine for s, coarse, fine in zip(stride, size, shares.shape[2:], strict=True)):
        raise ValueError(f"the axes of a level must divide those of the label, received {size} and {shares.shape[2:]}.")
    for axis, step in enumerate(stride, start=2):
        if step > 1:
            shares = _sum_of_slices(shares, axis, step)
    return shares / math.prod(stride)


def _sum_of_slices(values: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Sums of ``step`` neighbours along an axis, which a CPU does in a quarter of the time of its average pooling."""
    first, second, *others = values.unflatten(axis, (-1, step)).unbind(axis + 1)
    total = first + second
    for other in others:
        total += other
    return total

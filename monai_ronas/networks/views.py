# SPDX-License-Identifier: Apache-2.0
"""The mean of a prediction over views of a volume, and what goes on where the memory of a device does not suffice."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from monai.utils import convert_to_tensor

from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
T = TypeVar("T")
_SLABS = 8


class View(NamedTuple):
    """A volume ``(B, C, H, W[, D])`` with two dimensions exchanged and others flipped after that.

    Attributes:
        exchanged: the two dimensions, or none.
        flipped: dimensions of the exchanged volume.
    """

    exchanged: tuple[int, ...] = ()
    flipped: tuple[int, ...] = ()

    def exchange(self, volume: torch.Tensor) -> torch.Tensor:
        """The volume, or a prediction in the view, with the two dimensions exchanged."""
        return volume.transpose(*self.exchanged) if self.exchanged else volume

    def place(self, dim: int) -> int:
        """Where a dimension of the volume is in the view."""
        return self.exchanged[1 - self.exchanged.index(dim)] if dim in self.exchanged else dim

    def of(self, volume: torch.Tensor) -> torch.Tensor:
        """The volume in this view."""
        volume = self.exchange(volume)
        return volume.flip(self.flipped) if self.flipped else volume

    def back(self, volume: torch.Tensor) -> torch.Tensor:
        """What was made of the volume in this view, in its own place: the inverse of :meth:`of`."""
        return self.exchange(volume.flip(self.flipped) if self.flipped else volume)


def views(flips: Sequence[int], transposed_axes: Sequence[int] | None = None) -> list[View]:
    """All views of a volume, the volume itself at first.

    Args:
        flips: spatial axes, from 0, along which it is flipped.
        transposed_axes: two spatial axes that change places.

    Example:
        >>> [view.flipped for view in views([0, 2])]
        [(), (4,), (2,), (2, 4)]
        >>> len(views([0, 1], (0, 1)))
        8
    """
    exchanges = [(), *([tuple(axis + 2 for axis in transposed_axes)] if transposed_axes else [])]
    choices = itertools.product(exchanges, *([(), (axis + 2,)] for axis in flips))
    return [View(exchanged, tuple(itertools.chain(*flipped))) for exchanged, *flipped in choices]


def with_memory(make: Callable[[torch.device], T], device: torch.device) -> T:
    """What ``make`` gives for a device; for want of memory on it, for the CPU."""
    try:
        return make(device)
    except (RuntimeError, MemoryError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    logger.warning("the memory of %s does not suffice for the prediction: going on on the CPU", device)
    return make(torch.device("cpu"))


def add_view(
    total: torch.Tensor | None, prediction: torch.Tensor, view: View, device: torch.device | None = None
) -> torch.Tensor:
    """The sum of probabilities with those of one more run, turned back, added in place, a slab at a time.

    Args:
        total: the sum so far, ``(B, C, H, W[, D])``; None before the first run.
        prediction: logits of the run on a view of the volume.
        view: which one.
        device: where the sum is made, as long as there is memory. Default: the device of the prediction.
    """
    prediction = view.exchange(convert_to_tensor(prediction, track_meta=False))
    dims = [view.place(dim) for dim in view.flipped]
    if total is None:
        shape, dtype = prediction.shape, prediction.dtype
        place = device or prediction.device
        total = with_memory(lambda where: torch.zeros(shape, dtype=dtype, device=where), place)
    length = prediction.shape[2]
    step = math.ceil(length / _SLABS)
    for first in range(0, length, step):
        last = min(first + step, length)
        try:
            share = prediction[:, :, first:last].softmax(dim=1).flip(dims).to(total.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("the memory does not suffice for the sum over flips: going on on the CPU")
            total, prediction = total.cpu(), prediction.cpu()
            share = prediction[:, :, first:last].softmax(dim=1).flip(dims)
        begin, end = (length - last, length - first) if 2 in dims else (first, last)
        total[:, :, begin:end] += share
    return total

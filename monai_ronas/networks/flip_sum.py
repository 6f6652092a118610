# SPDX-License-Identifier: Apache-2.0
"""The mean of a prediction over flips, and what goes on where the memory of a device does not suffice."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from monai.utils import convert_to_tensor

from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
T = TypeVar("T")
_SLABS = 8


def flipped_dims(axes: Sequence[int]) -> Iterator[list[int]]:
    """The dimensions to be flipped in ``(B, C, H, W[, D])``, for every way to flip spatial axes, none at first.

    Example:
        >>> list(flipped_dims([0, 2]))
        [[], [4], [2], [2, 4]]
    """
    for chosen in itertools.product((False, True), repeat=len(axes)):
        yield [axis + 2 for axis, flip in zip(axes, chosen, strict=True) if flip]


def with_memory(make: Callable[[torch.device], T], device: torch.device) -> T:
    """What ``make`` gives for a device; for want of memory on it, for the CPU."""
    try:
        return make(device)
    except (RuntimeError, MemoryError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    logger.warning("the memory of %s does not suffice for the prediction: going on on the CPU", device)
    return make(torch.device("cpu"))


def add_flipped(
    total: torch.Tensor | None, prediction: torch.Tensor, dims: list[int], device: torch.device | None = None
) -> torch.Tensor:
    """The sum of probabilities with those of one more run, flipped back, added in place, a slab at a time.

    Args:
        total: the sum so far, ``(B, C, H, W[, D])``; None before the first run.
        prediction: logits of the run, flipped along ``dims``.
        dims: dimensions of the tensor to be flipped.
        device: where the sum is made, as long as there is memory. Default: the device of the prediction.
    """
    prediction = convert_to_tensor(prediction, track_meta=False)
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

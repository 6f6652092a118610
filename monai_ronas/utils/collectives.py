# SPDX-License-Identifier: Apache-2.0
"""What processes of one run give each other: items, results, tensors and gradients.

As in :mod:`monai_ronas.utils.ranks`, in a single process nothing here does anything, and all ranks must call the same
functions in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import ignite.distributed as idist
import torch
import torch.distributed as dist

from monai_ronas.utils.ranks import is_main, number_of_ranks, own_rank, together, total

T = TypeVar("T")


def from_rank(value: T, rank: int) -> T:
    """What one rank has for a value.

    Args:
        value: can be pickled.
        rank: whose is taken.

    Example:
        >>> from_rank("a", 0)
        'a'
    """
    if number_of_ranks() == 1:
        return value
    carried = [value if rank == own_rank() else None]
    with together():
        dist.broadcast_object_list(carried, src=rank)
    return cast(T, carried[0])


def from_all(value: T) -> list[T]:
    """What each rank has for a value, in their order.

    Args:
        value: can be pickled.

    Example:
        >>> from_all("a")
        ['a']
    """
    if number_of_ranks() == 1:
        return [value]
    found: list[Any] = [None] * number_of_ranks()
    with together():
        dist.all_gather_object(found, value)
    return found


def dealt(items: Sequence[T], rank: int | None = None) -> list[T]:
    """The items of a rank, each ``n``-th of ``n`` ranks; the first item where there are fewer items than ranks.

    Args:
        items: of all ranks; not empty.
        rank: whose. Default: this one.

    Example:
        >>> dealt("abc")
        ['a', 'b', 'c']
    """
    return list(items[own_rank() if rank is None else rank :: number_of_ranks()] or items[:1])


def gathered(own: Sequence[T], number: int) -> list[T]:
    """What all ranks have for ``number`` items, in the items' order; all ranks get it.

    Args:
        own: what this rank has for the items that :func:`dealt` gave it.
        number: of the items.

    Example:
        >>> gathered(["a", "b"], 2)
        ['a', 'b']
    """
    rows = [row for part in from_all(list(own)) for row in part]
    items = [item for rank in range(number_of_ranks()) for item in dealt(range(number), rank)]
    return [rows[items.index(item)] for item in range(number)]


def mean(value: float) -> float:
    """The mean of what the ranks have.

    Args:
        value: of this rank.

    Example:
        >>> mean(2.5)
        2.5
    """
    return float(total(torch.tensor(value, dtype=torch.float64))) / number_of_ranks()


def fair_gb(gb: float, device: str | torch.device = "cpu") -> float:
    """Memory in GiB that every rank has.

    Args:
        gb: what this rank finds.
        device: whose memory it is. The ranks of one machine have a GPU each, but share its own memory.
    """
    return least(gb if torch.device(device).type != "cpu" else gb / idist.get_nproc_per_node())


def least(value: float) -> float:
    """The least of what the ranks have.

    Args:
        value: of this rank.

    Example:
        >>> least(2.5)
        2.5
    """
    if number_of_ranks() == 1:
        return value
    with together():
        found = idist.all_reduce(torch.tensor(value, dtype=torch.float64), op="MIN")
    return float(found)


@torch.no_grad()
def take_from_main(tensors: Iterable[torch.Tensor]) -> None:
    """Give tensors the values that they have on rank 0, in place.

    Args:
        tensors: of one type and device; the same shapes on all ranks.
    """
    if number_of_ranks() == 1:
        return
    listed = list(tensors)
    with together():
        given = idist.broadcast(torch.cat([tensor.reshape(-1) for tensor in listed]), src=0)
    assert isinstance(given, torch.Tensor)
    if not is_main():
        for tensor, part in zip(listed, given.split([tensor.numel() for tensor in listed]), strict=True):
            tensor.copy_(part.view_as(tensor))


def average_gradients(weights: Iterable[torch.Tensor]) -> None:
    """Replace gradients by their mean over the ranks; those that no rank has stay ``None``.

    A weight that has a gradient on some of the ranks counts as zero on the others.

    Args:
        weights: of one type and device, the same on all ranks.
    """
    if number_of_ranks() == 1:
        return
    listed = list(weights)
    used = total(torch.tensor([float(weight.grad is not None) for weight in listed])).bool().tolist()
    moved = [weight for weight, is_used in zip(listed, used, strict=True) if is_used]
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in moved]
    mean = total(torch.cat([gradient.reshape(-1) for gradient in gradients])) / number_of_ranks()
    for weight, gradient, part in zip(moved, gradients, mean.split([w.numel() for w in moved]), strict=True):
        weight.grad = gradient.copy_(part.view_as(gradient))

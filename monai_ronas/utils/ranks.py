# SPDX-License-Identifier: Apache-2.0
"""One run in many processes, through ``ignite.distributed``: who is the first, and what all decide alike.

Every process, or rank, does the same, unless ranks work :func:`apart`. What one alone can know, such as a clock or a
lack of memory, is agreed on; rank 0 alone writes. In a single process nothing here does anything. All functions that
agree must be called by all ranks, in the same order.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import ignite.distributed as idist
import torch
import torch.distributed as dist

from monai_ronas.errors import RonasError, SettingError
from monai_ronas.utils.memory import is_out_of_memory

T = TypeVar("T")
_MOST_MINUTES = 1e6


class RankError(RonasError, RuntimeError):
    """Another process of the same run has ended, or does not answer."""


_LOST = "another process of this run has ended or does not answer: see its own message."


class OutOfMemoryElsewhere(MemoryError):
    """The memory of another rank did not suffice, so that this one leaves its step as well."""


class _Ranks:
    """What this process knows of the others."""

    def __init__(self) -> None:
        self.number = 1  # of those that work together
        self.own = 0
        self.main = True
        self.clock = 0.0  # of rank 0, when the ranks last agreed on something
        self.parted: float | None = None  # when a rank that works apart had that clock, by time.monotonic
        self.meet: Callable[[], None] | None = None  # of a rank that works apart


_ranks = _Ranks()


def join_ranks(device: str | torch.device, *, timeout_minutes: float = 60.0) -> None:
    """Make this process one of many: NCCL where it trains on CUDA, gloo elsewhere.

    All but rank 0 are silent from now on, errors aside.

    Args:
        device: where this rank trains.
        timeout_minutes: after which a rank that waits for others gives up. It has to be more than what rank 0 alone
            takes for checking the data. A process that ends is noticed at once, whatever the timeout.

    Raises:
        SettingError: when the process was not started by ``torchrun``, or the timeout is not a positive number.
    """
    if not isinstance(timeout_minutes, (int, float)) or not 0 < timeout_minutes < _MOST_MINUTES:
        raise SettingError(f"rank_timeout_minutes must be a positive number, received {timeout_minutes!r}.")
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        raise SettingError(
            "multi_gpu_search.json and multi_gpu_train.json are for torchrun: begin the command with `torchrun "
            "--standalone --nproc_per_node N -m monai.bundle` in place of `python -m monai.bundle`, or leave them out."
        )
    backend = "nccl" if torch.device(device).type == "cuda" else "gloo"
    with _together():
        idist.initialize(backend, timeout=timedelta(minutes=timeout_minutes))
    _ranks.number, _ranks.own = idist.get_world_size(), idist.get_rank()
    _ranks.main = _ranks.own == 0
    agree_any(False)
    if not is_main():
        logging.disable(logging.WARNING)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end of the process


def leave_to_main() -> None:
    """End all processes but rank 0, which is alone from now on; nothing in a single process.

    Raises:
        SystemExit: with status 0, on all other ranks.
    """
    if _ranks.number == 1:
        return
    with _together():
        idist.barrier()
    idist.finalize()
    _ranks.number = 1
    if not is_main():
        raise SystemExit(0)


def number_of_ranks() -> int:
    """Processes that work together; 1 for a single one, and for one that works :func:`apart`."""
    return _ranks.number


def own_rank() -> int:
    """Number of this process among those that work together, from 0."""
    return _ranks.own


def is_main() -> bool:
    """Whether this is rank 0, which writes; always in a single process."""
    return _ranks.main


def own_generator(common: torch.Generator) -> torch.Generator:
    """A source of randomness of this rank's own, from one that is the same on all and stays so.

    In a single process it is that one itself.
    """
    if _ranks.number == 1:
        return common
    seed = int(torch.randint(2**62, (), generator=common))
    return torch.Generator().manual_seed(seed + _ranks.own)


def now() -> float:
    """Seconds of the clock (``time.time``); in many processes that of rank 0, as of their last agreement.

    That of a rank that works :func:`apart` goes on from there.
    """
    if _ranks.parted is not None:
        return _ranks.clock + time.monotonic() - _ranks.parted
    return time.time() if _ranks.number == 1 else _ranks.clock


def agree_any(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    if _ranks.number == 1:
        return flag
    both = torch.tensor([float(flag), time.time() if is_main() else 0.0], dtype=torch.float64)
    flags, _ranks.clock = total(both).tolist()
    return bool(flags)


def from_main(value: T) -> T:
    """What rank 0 has for the value, which can be pickled."""
    if _ranks.number == 1:
        return value
    carried: list[Any] = [value, time.time()]
    with _together():
        dist.broadcast_object_list(carried, src=0)
    _ranks.clock = carried[1]
    return carried[0]


def from_rank(value: T, rank: int) -> T:
    """What a rank has for the value, which can be pickled."""
    if _ranks.number == 1:
        return value
    carried = [value if rank == _ranks.own else None]
    with _together():
        dist.broadcast_object_list(carried, src=rank)
    return cast(T, carried[0])


def from_all(value: T) -> list[T]:
    """What each rank has, in their order."""
    if _ranks.number == 1:
        return [value]
    found: list[Any] = [None] * _ranks.number
    with _together():
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
    return list(items[_ranks.own if rank is None else rank :: _ranks.number] or items[:1])


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
    items = [item for rank in range(_ranks.number) for item in dealt(range(number), rank)]
    return [rows[items.index(item)] for item in range(number)]


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the ranks, element by element; the tensor itself in a single process."""
    if _ranks.number == 1:
        return tensor
    with _together():
        summed = idist.all_reduce(tensor.detach().clone())
    assert isinstance(summed, torch.Tensor)
    return summed


def mean(value: float) -> float:
    """The mean over the ranks."""
    return value if _ranks.number == 1 else float(total(torch.tensor(value, dtype=torch.float64))) / _ranks.number


def fair_gb(gb: float, device: str | torch.device = "cpu") -> float:
    """Memory in GiB that every rank has.

    Args:
        gb: what this rank finds.
        device: whose memory it is. The ranks of one machine have a GPU each, but share its own memory.
    """
    return least(gb if torch.device(device).type != "cpu" else gb / idist.get_nproc_per_node())


def least(value: float) -> float:
    """The least of what the ranks have."""
    if _ranks.number == 1:
        return value
    with _together():
        found = idist.all_reduce(torch.tensor(value, dtype=torch.float64), op="MIN")
    return float(found)


@contextmanager
def apart(*, every_seconds: float = 30.0) -> Iterator[None]:
    """Each rank works on its own for a while, as a single process does; at the end they wait for each other.

    Nothing is agreed on then, and each has a clock of its own, which stands still while it waits for others. Those that
    are at work call :func:`meet` now and then.

    Args:
        every_seconds: time between two meetings.

    Raises:
        RankError: when another rank has ended.

    Example:
        >>> with apart():
        ...     for _ in range(3):
        ...         meet()
    """
    if _ranks.number == 1:
        yield
        return
    joined, clock = (_ranks.number, _ranks.own), _ranks.clock
    met = time.monotonic()

    def part(since: float) -> None:
        _ranks.number, _ranks.own, _ranks.clock, _ranks.parted = 1, 0, clock, since
        _ranks.meet = look

    def join() -> None:
        _ranks.number, _ranks.own = joined
        _ranks.parted = _ranks.meet = None

    def look() -> None:
        nonlocal met
        came, since = time.monotonic(), _ranks.parted
        if since is None or came - met < every_seconds:
            return
        join()
        agree_any(True)
        met = time.monotonic()
        part(since + met - came)

    part(met)
    try:
        yield
    finally:
        join()
    while agree_any(False):  # some are still at work
        pass


def meet() -> None:
    """Called now and then by a rank that works :func:`apart`; elsewhere nothing happens.

    About every 30 seconds all that are still at work wait for each other here, so that one that has ended is noticed.

    Raises:
        RankError: when another rank has ended.
    """
    if _ranks.meet is not None:
        _ranks.meet()


@contextmanager
def main_first() -> Iterator[None]:
    """Rank 0 goes first, the others when it has ended this part; also a decorator.

    It is Ignite's ``one_rank_first`` with barriers that tell of a missing rank.
    """
    if not is_main():
        agree_any(False)
    yield
    if is_main():
        agree_any(False)


@torch.no_grad()
def take_from_main(tensors: Iterable[torch.Tensor]) -> None:
    """Give tensors of one type the values that they have on rank 0, in place."""
    if _ranks.number == 1:
        return
    listed = list(tensors)
    with _together():
        given = idist.broadcast(torch.cat([tensor.reshape(-1) for tensor in listed]), src=0)
    assert isinstance(given, torch.Tensor)
    if not is_main():
        for tensor, part in zip(listed, given.split([tensor.numel() for tensor in listed]), strict=True):
            tensor.copy_(part.view_as(tensor))


def average_gradients(weights: Iterable[torch.Tensor]) -> None:
    """Replace gradients by their mean over the ranks; those that no rank has stay ``None``.

    A weight that has a gradient on some of the ranks counts as zero on the others.
    """
    if _ranks.number == 1:
        return
    listed = list(weights)
    used = total(torch.tensor([float(weight.grad is not None) for weight in listed])).bool().tolist()
    moved = [weight for weight, is_used in zip(listed, used, strict=True) if is_used]
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in moved]
    mean = total(torch.cat([gradient.reshape(-1) for gradient in gradients])) / _ranks.number
    for weight, gradient, part in zip(moved, gradients, mean.split([w.numel() for w in moved]), strict=True):
        weight.grad = gradient.copy_(part.view_as(gradient))


@contextmanager
def _together() -> Iterator[None]:
    """What all ranks do at once; where one of them is missing, that is said.

    Raises:
        RankError: in place of the backend's error.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RonasError) or is_out_of_memory(error):
            raise
        raise RankError(_LOST) from error


def lost_rank(error: BaseException) -> RankError | None:
    """What an error of NCCL or gloo means that others have met, such as MONAI's metrics; None for any other.

    Args:
        error: the error itself, without its causes.
    """
    of_backend = _ranks.number > 1 and (isinstance(error, dist.DistError) or "gloo/gloo/" in str(error))
    return RankError(_LOST) if of_backend else None

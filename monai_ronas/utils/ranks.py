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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

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
    with together():
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
    with together():
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
    with together():
        dist.broadcast_object_list(carried, src=0)
    _ranks.clock = carried[1]
    return carried[0]


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the ranks, element by element; the tensor itself in a single process."""
    if _ranks.number == 1:
        return tensor
    with together():
        summed = idist.all_reduce(tensor.detach().clone())
    assert isinstance(summed, torch.Tensor)
    return summed


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


@contextmanager
def together() -> Iterator[None]:
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

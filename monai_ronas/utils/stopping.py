# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a long run to stop: SIGTERM of a batch system or a container, SIGUSR1 ahead of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("SIGTERM", "SIGUSR1")


class Stopped(BaseException):
    """A signal has asked the run to stop; like ``KeyboardInterrupt``, it is no ``Exception``.

    Attributes:
        saved: what the run had done is on the disk.
    """

    saved = False


class _Watch:
    """What the handler of the signals knows; of the main thread only."""

    def __init__(self) -> None:
        self.process = 0
        self.held = 0
        self.pending: str | None = None
        self.raised: str | None = None

    def stop(self, name: str) -> None:
        self.pending, self.raised = None, name
        raise Stopped(name)

    def __call__(self, number: int, frame: Any) -> None:
        if os.getpid() != self.process:  # a data loading process has inherited this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.pending = signal.Signals(number).name
        if not self.held:
            self.stop(self.pending)


_watch = _Watch()


def stopping_signals() -> list[signal.Signals]:
    """SIGTERM and SIGUSR1, as far as the system has them and the process does not ignore them."""
    known = [signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it, SIGTERM and SIGUSR1 raise :class:`Stopped` in the main thread; what they did before comes back after.

    It is raised again at the end where others have swallowed it or made another exception of it. Elsewhere than in the
    main thread nothing is changed. A signal that the process ignores stays ignored.

    Raises:
        Stopped: when a signal comes.

    Example:
        >>> try:
        ...     with stop_signals():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except Stopped as stop:
        ...     print(stop)
        SIGTERM
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {}
    try:
        for number in stopping_signals():
            _watch.process = os.getpid()
            earlier[number] = signal.signal(number, _watch)
        try:
            yield
        except Exception:  # of others, which may have made it of ours: TorchScript's compiler, for one
            raise_if_stopped()
            raise
        raise_if_stopped()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        if _watch not in earlier.values():
            _watch.pending = _watch.raised = None


def ignore_stop_signals() -> None:
    """Have SIGTERM and SIGUSR1 do nothing from here on: the work has ended, and only the process is left to end.

    The end of an enclosing :func:`stop_signals` takes it back. Elsewhere than in the main thread nothing is changed.
    """
    if threading.current_thread() is threading.main_thread():
        for number in stopping_signals():
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def unstopped() -> Iterator[None]:
    """Within it a signal waits; it raises :class:`Stopped` at the end. For what must not end half-way.

    Raises:
        Stopped: at the end, when a signal has come meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch.held += 1
    try:
        yield
    finally:
        _watch.held -= 1
    if not _watch.held and _watch.pending is not None:
        _watch.stop(_watch.pending)


def raise_if_stopped() -> None:
    """Raise :class:`Stopped` again where a signal has come but others have swallowed its exception.

    Python drops exceptions of finalisers, for one.

    Raises:
        Stopped: when a signal has come within the present :func:`stop_signals`.
    """
    if _watch.raised is not None and threading.current_thread() is threading.main_thread():
        _watch.stop(_watch.raised)

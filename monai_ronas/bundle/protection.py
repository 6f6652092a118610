# SPDX-License-Identifier: Apache-2.0
"""What keeps a long run from being lost, or from being spoilt by another."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from monai_ronas.utils import Stopped, TrainingError, stop_signals, stopping_signals

T = TypeVar("T")
logger = logging.getLogger(__name__)
_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: to be tried again
_SURROUNDINGS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # no room
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO),  # no way
}
_AGAIN = "run the same command again: it continues from the last checkpoint"
_locks: dict[Path, FileLock] = {}


def claim_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder this process' own until it ends, however it ends.

    Raises:
        ValueError: when another process has it, or it cannot be written.
    """
    root = Path(folder).resolve()
    if root in _locks:
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another search is running in output_dir '{folder}': wait for it or give another.") from None
    except OSError as error:
        raise ValueError(f"output_dir '{folder}' cannot be written ({error.strerror}): give another.") from error
    _locks[root] = lock


def protected(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call ``function``; where its surroundings fail, end the program with a sentence. What is on disk stays.

    SIGTERM and SIGUSR1 stop it, see :func:`~monai_ronas.utils.stop_signals`.

    Raises:
        SystemExit: for a disk that is full or cannot be written, a data loading process that was killed and a training
            that cannot go on, with status 1; for SIGTERM and SIGUSR1, with status 75; for Ctrl-C, with status 130.
    """
    return told(_stoppable, function, *args, **kwargs)


def protected_command(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """As :func:`protected`, but programs other than ``python -m monai.bundle`` keep their handlers of signals."""
    if "monai.bundle" in sys.orig_argv:
        return protected(function, *args, **kwargs)
    return told(function, *args, **kwargs)


def stop_in_a_sentence() -> None:
    """Let SIGTERM and SIGUSR1 end a ``python -m monai.bundle`` command with a sentence between protected calls as well.

    Other programs keep their handlers.
    """
    if "monai.bundle" not in sys.orig_argv or threading.current_thread() is not threading.main_thread():
        return
    for number in stopping_signals():
        signal.signal(number, _end)


def _end(number: int, frame: Any) -> None:
    logger.warning("stopped by %s; %s", signal.Signals(number).name, _AGAIN)
    raise SystemExit(_STOPPED)


def _stoppable(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with stop_signals():
        return function(*args, **kwargs)


def told(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """As :func:`protected`, without a change of the handlers of signals."""
    try:
        return function(*args, **kwargs)
    except Stopped as stop:
        logger.warning("stopped by %s%s", stop, ", saved; the same command goes on" if stop.saved else f"; {_AGAIN}")
        raise SystemExit(_STOPPED) from None
    except KeyboardInterrupt:
        logger.warning("interrupted; %s", _AGAIN)
        raise SystemExit(_INTERRUPTED) from None
    except TrainingError as error:
        raise SystemExit(f"monai_ronas: {error}") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SystemExit(
            "monai_ronas: a data loading process was killed, often for want of memory or of room in /dev/shm: set the "
            f"data loader's num_workers to 0 and {_AGAIN}."
        ) from error
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            raise
        place = f" in '{error.filename}'" if error.filename else ""
        raise SystemExit(f"monai_ronas: {error.strerror}{place}: mend it and {_AGAIN}.") from error

# SPDX-License-Identifier: Apache-2.0
"""The time that a search may take."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import psutil

from monai_ronas.errors import SettingError
from monai_ronas.utils.ranks import from_main, is_main, now


class TimeBudget:
    """Seconds spent on a command, held against a budget.

    Where the process is a ``python -m monai.bundle`` command, counting starts with the process, so that imports are
    paid for; elsewhere, as in a notebook, it starts here. What interrupted runs of the same search spent before is
    :attr:`spent_before`; :meth:`record` keeps it in a file, second by second, so that
    what a killed run did after its last checkpoint counts as well.

    In many processes (:mod:`monai_ronas.utils.ranks`) the clock of rank 0 holds for all, as of their last agreement, so
    that all decide alike; all have to make their budget and to call :meth:`record`.

    Args:
        minutes: the budget, or None for no limit.
        reserve: seconds kept for what follows the last training: export and report. :meth:`keep` adds to it.

    Raises:
        SettingError: when ``minutes`` is not positive.
    """

    def __init__(self, minutes: float | None = None, *, reserve: float = 8.0) -> None:
        if minutes is not None and minutes <= 0:
            raise SettingError(f"time_budget_minutes must be positive or null, got {minutes}.")
        self.seconds = None if minutes is None else 60.0 * minutes
        self.reserve = reserve
        self.spent_before = 0.0
        self._file: Path | None = None
        self._over = threading.Event()
        is_command = "monai.bundle" in sys.orig_argv
        self._start = from_main(psutil.Process().create_time() if is_command else time.time())

    def elapsed(self) -> float:
        """Seconds spent, those of earlier, interrupted runs included."""
        return self.spent_before + now() - self._start

    def record(self, path: str | Path, *, resume: bool = True, every_seconds: float = 1.0) -> None:
        """Go on from the time that a file has, and write the time there from now on.

        Args:
            path: the file; its folder is made where it is missing.
            resume: false to count from nothing.
            every_seconds: time between two notes.

        Raises:
            OSError: when the file cannot be written.
        """
        if resume:
            self.spent_before = from_main(max(self.spent_before, _recorded(Path(path))))
        if not is_main():
            return
        self._file = Path(path)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.note()
        threading.Thread(target=self._keep_noting, args=(every_seconds,), daemon=True).start()

    def end_record(self) -> None:
        """Write the time for the last time."""
        self._over.set()
        self.note()

    def note(self) -> None:
        """Write the time now, where :meth:`record` was called."""
        if self._file is not None:
            temporary = self._file.with_name(f".{self._file.name}.{threading.get_ident()}")
            seconds = self.spent_before + time.time() - self._start  # of now, not of the last agreement
            temporary.write_text(json.dumps({"seconds": round(seconds, 1)}), encoding="utf-8")
            os.replace(temporary, self._file)

    def _keep_noting(self, every_seconds: float) -> None:
        while not self._over.wait(every_seconds):
            try:
                self.note()
            except OSError:  # a full disk: the run itself will say so
                continue

    def keep(self, seconds: float) -> None:
        """Keep so many more seconds for what follows the last training, as a measurement shows that it needs them."""
        self.reserve += seconds

    def until(self, share: float) -> float | None:
        """The time, on :meth:`elapsed`'s scale, at which ``share`` of the usable budget is spent; None: no limit."""
        return None if self.seconds is None else share * max(self.seconds - self.reserve, 0.0)


def _recorded(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or lost in a power cut
        return 0.0

# SPDX-License-Identifier: Apache-2.0
"""The time that a search may take."""

from __future__ import annotations

import sys
import time

import psutil

from monai_ronas.errors import SettingError


class TimeBudget:
    """Seconds spent on a command, held against a budget.

    Where the process is a ``python -m monai.bundle`` command, counting starts with the process, so that imports are
    paid for; elsewhere, as in a notebook, it starts here. What an interrupted run of the same search spent before is
    added with :attr:`spent_before`.

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
        is_command = "monai.bundle" in sys.orig_argv
        self._start = psutil.Process().create_time() if is_command else time.time()

    def elapsed(self) -> float:
        """Seconds spent, those of earlier, interrupted runs included."""
        return self.spent_before + time.time() - self._start

    def keep(self, seconds: float) -> None:
        """Keep so many more seconds for what follows the last training, as a measurement shows that it needs them."""
        self.reserve += seconds

    def until(self, share: float) -> float | None:
        """The time, on :meth:`elapsed`'s scale, at which ``share`` of the usable budget is spent; None: no limit."""
        return None if self.seconds is None else share * max(self.seconds - self.reserve, 0.0)

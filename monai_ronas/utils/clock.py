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

_NOTED = 1.0  # seconds that the roundings of the parts stay below
_RESERVE = 8.0  # seconds for export and report where the machine's pace is not known
_IMPORTED = time.time()  # after torch and MONAI


class TimeBudget:
    """Seconds spent on a command, held against a budget.

    Where the process is a ``python -m monai.bundle`` command, counting starts with the process, so that imports are
    paid for; elsewhere, as in a notebook, it starts here. What interrupted runs of the same search spent before is
    :attr:`spent_before`; :meth:`record` keeps it in a file, second by second, so that
    what a killed run did after its last checkpoint counts as well. A command that is refused before that leaves no
    trace in the file, and does not count. :meth:`enter` says what the time is spent on.

    In many processes (:mod:`monai_ronas.utils.ranks`) the clock of rank 0 holds for all, as of their last agreement, so
    that all decide alike; all have to make their budget and to call :meth:`record`.

    Args:
        minutes: the budget, or None for no limit.
        reserve: seconds kept for what follows the last training: export and report. :meth:`keep` adds to it. Default:
            8; for a command as many as the import of torch and MONAI has taken, which tells the machine's pace, from 4
            to 12.

    Raises:
        SettingError: when ``minutes`` is not positive.

    Example:
        >>> budget = TimeBudget(minutes=10)
        >>> budget.enter("training")
        >>> budget.part, round(budget.until(1.0) + budget.reserve + budget.elapsed())
        ('training', 600)
    """

    def __init__(self, minutes: float | None = None, *, reserve: float | None = None) -> None:
        if minutes is not None and minutes <= 0:
            raise SettingError(f"time_budget_minutes must be positive or null, received {minutes}.")
        self.seconds = None if minutes is None else 60.0 * minutes
        self.spent_before = 0.0
        self._parts_before: dict[str, float] = {}
        self._file: Path | None = None
        self._over = threading.Event()
        is_command = "monai.bundle" in sys.orig_argv
        self._start = from_main(psutil.Process().create_time() if is_command else time.time())
        pace = min(max(from_main(_IMPORTED) - self._start, 4.0), 12.0) if is_command else _RESERVE
        self.reserve = pace if reserve is None else reserve
        self._entered: tuple[tuple[str, float], ...] = (("start and checks", self._start),)

    def elapsed(self) -> float:
        """Seconds spent, those of earlier, interrupted runs included."""
        return self.spent_before + now() - self._start

    @property
    def part(self) -> str:
        """What the time is spent on now."""
        return self._entered[-1][0]

    def enter(self, part: str) -> None:
        """From now on the time is spent on a part of the command, until another one is entered.

        Args:
            part: its name, for people. The same name again adds to the same part.
        """
        if part != self.part:
            self._entered = (*self._entered, (part, time.time()))

    def spent(self) -> dict[str, float]:
        """Seconds spent on each part, in the order of their first begin; together they are :meth:`elapsed`.

        What is not known of earlier runs, as where they were of a version that did not note it, is ``"earlier runs"``.

        Example:
            >>> budget = TimeBudget()
            >>> budget.enter("race")
            >>> list(budget.spent()), budget.part
            (['start and checks', 'race'], 'race')
        """
        entered, spent = self._entered, dict(self._parts_before)
        ends = [begin for _, begin in entered[1:]] + [time.time()]
        for (part, begin), end in zip(entered, ends, strict=True):
            spent[part] = spent.get(part, 0.0) + end - begin
        unknown = self.spent_before - sum(self._parts_before.values())
        return {"earlier runs": unknown, **spent} if unknown > _NOTED else spent

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
            seconds, self._parts_before = from_main(_recorded(Path(path)))
            self.spent_before = from_main(max(self.spent_before, seconds))
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
            spent = {part: round(seconds, 1) for part, seconds in self.spent().items()}
            seconds = self.spent_before + time.time() - self._start  # of now, not of the last agreement
            noted = {"seconds": round(seconds, 1), "parts": spent}
            temporary.write_text(json.dumps(noted), encoding="utf-8")
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


def _recorded(path: Path) -> tuple[float, dict[str, float]]:
    """Seconds, in all and by part; nothing where the file is not there or was lost in a power cut."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return float(noted["seconds"]), {part: float(value) for part, value in noted.get("parts", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0.0, {}

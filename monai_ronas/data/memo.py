# SPDX-License-Identifier: Apache-2.0
"""What the verification found in sound cases, remembered beside the report so that no volume is read twice."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from monai_ronas.data.checked import CheckedCase
from monai_ronas.data.identity import files_hash
from monai_ronas.data.msd import Case
from monai_ronas.data.stats import CaseStats

logger = logging.getLogger(__name__)


class VerificationMemo:
    """Results of the verification by case, in a file of JSON lines that grows as they are found.

    Sound cases alone are remembered: a fault may be mended without a change of the file, such as by its permissions.
    Lines that cannot be understood are ignored, and a file that cannot be written only costs time.

    Args:
        path: the file, made where it is missing; ``None``: nothing is remembered.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._lock = Lock()
        self._known: dict[str, CheckedCase] = {}
        for line in self._lines():
            try:
                key, content = json.loads(line)
                self._known[str(key)] = _restored(content)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                logger.debug("a line of '%s' is not understood", self.path)

    def __contains__(self, key: str | None) -> bool:
        return key in self._known

    def get(self, key: str | None) -> CheckedCase | None:
        """What was found under a key, None where nothing was; a copy, which may be changed."""
        return None if key is None else deepcopy(self._known.get(key))

    def add(self, key: str | None, checked: CheckedCase) -> None:
        """Remember a sound case; others are left out."""
        if self.path is None or key is None or checked.problems or checked.stats is None:
            return
        line = json.dumps([key, asdict(checked)])
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"\n{line}")  # in front: the line before may be half of one
            except OSError as error:
                logger.debug("'%s' cannot be written: %s", self.path, error)

    def _lines(self) -> list[str]:
        if self.path is None:
            return []
        try:
            return [line for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n") if line]
        except OSError:
            return []


def case_key(case: Case, settings: Sequence[Any]) -> str | None:
    """What a case is remembered under: its name, its files as they are now, and what else the result depends on.

    Args:
        case: the case.
        settings: what else, JSON-able.

    Returns:
        The key; None where the files cannot be looked up.
    """
    try:
        return files_hash(case.item(), [case.name, *settings])
    except OSError:
        return None


def _restored(content: Mapping[str, Any]) -> CheckedCase:
    """The case of a line; JSON has no tuples and no numbers as keys."""
    stats = dict(content["stats"])
    stats["label_voxels"] = {int(value): int(count) for value, count in stats["label_voxels"].items()}
    stats = {key: _tuples(value) for key, value in stats.items()}
    return CheckedCase(
        entry=dict(content["entry"]),
        problems=[],
        warnings=list(content["warnings"]),
        stats=CaseStats(**stats),
        digest=str(content["digest"]),
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value

# SPDX-License-Identifier: Apache-2.0
"""The names of the files in the folder of checkpoints, and their order."""

from __future__ import annotations

import re
from pathlib import Path

FINISHED, FINAL = "finished.json", "final.pt"
_PLACE = re.compile(r"episode_(\d+)(?:_part_(\d+))?\.pt")
OURS = rf"{_PLACE.pattern}|{re.escape(FINISHED)}|{re.escape(FINAL)}"
"""Pattern of the names of all files that a search writes there."""


def checkpoint_files(directory: Path) -> list[Path]:
    """Checkpoints, newest first; an empty list where the folder does not exist."""
    found = [path for path in directory.glob("episode_*.pt") if _PLACE.fullmatch(path.name)]
    return sorted(found, key=place, reverse=True)


def place(path: Path) -> tuple[int, int]:
    """Episode and number of a checkpoint within a stretch; the number is -1 for that of an episode.

    Example:
        >>> place(Path("episode_00002.pt")), place(Path("episode_00002_part_00000007.pt"))
        ((2, -1), (2, 7))
    """
    match = _PLACE.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or -1)

# SPDX-License-Identifier: Apache-2.0
"""The memory that Linux control groups leave to this process, as in containers and batch systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


class GroupMemory(NamedTuple):
    """Memory of one control group in bytes.

    Attributes:
        limit: what the group may have.
        used: what it has, without the cached files that the kernel gives up when memory is short.
    """

    limit: int
    used: int


def limited_groups() -> list[GroupMemory]:
    """The control groups with a memory limit that this process is in, of version 1 or 2; none elsewhere than Linux."""
    found = []
    for folder, (limit_name, used_name, cache_names) in _folders():
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None:
            statistics = _statistics(folder / "memory.stat")
            cached = sum(statistics.get(name, 0) for name in cache_names)
            found.append(GroupMemory(limit, max(0, (used or 0) - cached)))
    return found


_Names = tuple[str, str, tuple[str, str]]
_VERSION_1: _Names = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)
_VERSION_2: _Names = ("memory.max", "memory.current", ("inactive_file", "active_file"))


def _folders() -> Iterator[tuple[Path, _Names]]:
    """Folders of the process' groups and of all above them, with the names of their files.

    A container may see its own group as the root, where the path in ``MEMBERSHIP`` names no folder.
    """
    for line in _text(MEMBERSHIP).splitlines():
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if kinds == "":
            root, names = ROOT, _VERSION_2
        elif "memory" in kinds.split(","):
            root, names = ROOT / "memory", _VERSION_1
        else:
            continue
        folder = root / path.strip("/")
        for group in (folder, *folder.parents):
            yield group, names
            if group == root:
                break


def _statistics(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(path: Path) -> int | None:
    """The number in a file; None where the file is missing or says ``max``."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

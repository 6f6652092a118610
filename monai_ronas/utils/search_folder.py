# SPDX-License-Identifier: Apache-2.0
"""The reports of a search, which stay until a command goes on with it."""

from __future__ import annotations

import os
from pathlib import Path

_CHECKED = "checked"
_REPORTS = ("dataset_report.json", "plan.json")


def report_folder(output_dir: str | os.PathLike[str]) -> Path:
    """Where a command writes what it finds of its data, and its plan.

    Args:
        output_dir: the folder that the command was given.

    Returns:
        ``output_dir``; where a search has begun there, ``checked`` within it, since the command may be refused, or only
        check the data. :func:`accept_reports` brings the files from there into their place.
    """
    folder = Path(output_dir)
    return folder / _CHECKED if (folder / "checkpoints").is_dir() else folder


def accept_reports(output_dir: str | os.PathLike[str]) -> None:
    """Let the reports of a command that goes on with the search in a folder take the place of those of the search.

    Args:
        output_dir: the folder of the search.
    """
    folder = Path(output_dir)
    checked = folder / _CHECKED
    for name in _REPORTS:
        if (checked / name).exists():
            os.replace(checked / name, folder / name)
    if checked.is_dir() and not any(checked.iterdir()):
        checked.rmdir()

# SPDX-License-Identifier: Apache-2.0
"""What keeps a search from being spoilt by another."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from monai_ronas.errors import SettingError
from monai_ronas.utils.ranks import is_main

_locks: dict[Path, FileLock] = {}


def claim_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder this process' own until it ends, however it ends; of many processes of one search rank 0's.

    Raises:
        SettingError: when another process has it, or it cannot be written.
    """
    root = Path(folder).resolve()
    if root in _locks or not is_main():
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise SettingError(
            f"another search is running in output_dir '{folder}': wait for it or give another."
        ) from None
    except OSError as error:
        raise SettingError(f"output_dir '{folder}' cannot be written ({error.strerror}): give another.") from error
    _locks[root] = lock

# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part.

    The content is made in memory first: torch turns the error of a full disk into others, or ends the process.

    Args:
        path: the file; its folder is made where it is missing.
        write: called with a binary buffer.
    """
    buffer = io.BytesIO()
    write(buffer)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The permissions that the process withholds from new files; asking for them means setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

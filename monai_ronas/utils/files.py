# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there."""

from __future__ import annotations

import errno
import io
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from monai_ronas.utils.stopping import unstopped


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a reader finds the old one or the new one, never a part.

    The content is made in memory first: torch turns the error of a full disk into others, or ends the process. File
    and folder are flushed to the disk. A signal that would stop the run waits until the file is there.

    Args:
        path: the file; its folder is made where it is missing.
        write: called with a binary buffer.
    """
    with unstopped():
        buffer = io.BytesIO()
        write(buffer)
        _replace(Path(path), buffer)


def _replace(path: Path, buffer: io.BytesIO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def flush_folder(folder: Path) -> None:
    """Let a folder's entries reach the disk, where the system has a way to say so."""
    flag = getattr(os, "O_DIRECTORY", None)
    if flag is None:
        return
    handle = os.open(folder, os.O_RDONLY | flag)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(handle)


def unfinished(folder: Path, names: str) -> list[Path]:
    """Files that a process left half written when it was killed in :func:`write_atomically`.

    Args:
        folder: where they would be.
        names: regular expression of the names of the files that were to be written.
    """
    pattern = re.compile(rf"\.(?:{names})\.[a-z0-9_]{{8}}")
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if pattern.fullmatch(p.name) and p.is_file() and not p.is_symlink())


def _umask() -> int:
    """The permissions that the process withholds from new files; asking for them means setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

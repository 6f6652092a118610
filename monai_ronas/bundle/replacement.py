# SPDX-License-Identifier: Apache-2.0
"""A folder that takes the place of another without a moment between."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from monai_ronas.errors import SettingError
from monai_ronas.utils import flush_folder, unstopped

_FDCWD, _EXCHANGE = -100, 2  # of Linux' renameat2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}
_FIXED = {errno.EXDEV, errno.EBUSY}  # lower layers of overlays, mount points


def new_beside(folder: Path) -> Path:
    """An empty folder, hidden beside ``folder``, in which its successor is made."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.new.", dir=folder.parent))


def clear_up(folder: Path) -> None:
    """Remove what a process that was killed in :func:`new_beside` or :func:`replace` has left beside ``folder``.

    Where it was killed between two renames (see :func:`replace`), the old folder comes back first.
    """
    folder = folder.resolve()
    if not folder.parent.is_dir():
        return
    ours = re.compile(rf"\.{re.escape(folder.name)}\.(?:new|old)\.[a-z0-9_]{{8}}")
    left = sorted(p for p in folder.parent.iterdir() if ours.fullmatch(p.name) and p.is_dir() and not p.is_symlink())
    for path in left:
        if path.name.startswith(f".{folder.name}.old.") and not folder.exists():
            path.rename(folder)
        else:
            shutil.rmtree(path)


def replace(folder: Path, new: Path, *, ours: Collection[str] = ()) -> None:
    """Put a finished folder in the place of another.

    Files of the other that the new one does not have stay, at any depth. They are linked into the new folder first, so
    that they are never elsewhere only. Then both folders change names in one step: whenever the process is killed, one
    of the two is there, whole. Where the file system knows no such step (it is Linux' ``renameat2``), there are two
    renames, and :func:`clear_up` mends what a kill between them leaves.

    Args:
        folder: the place; nothing need be there. Where it is a link, what it points to is replaced.
        new: made by :func:`new_beside`; gone afterwards.
        ours: files, relative to the folder, that do not stay where the new one does not have them.

    Raises:
        SettingError: when the folder cannot change its name; it stays as it is.
    """
    folder = folder.resolve()
    if folder.exists():

        def replaced(directory: str, names: list[str]) -> set[str]:
            places = {name: Path(directory).relative_to(folder) / name for name in names}
            return {n for n, p in places.items() if p.as_posix() in ours or _is_replaced(folder / p, new / p)}

        shutil.copytree(folder, new, symlinks=True, ignore=replaced, copy_function=_link, dirs_exist_ok=True)
    for path in (*new.rglob("*"), new):
        _flush(path)
    try:
        old = _renamed(folder, new)
    except OSError as error:
        if error.errno not in _FIXED:
            raise
        raise SettingError(
            f"export_dir '{folder}' cannot be replaced, as it is a mount point or a part of a container's image"
            f" ({error.strerror}): give a folder that is not there yet, such as one inside of it."
        ) from error
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _renamed(folder: Path, new: Path) -> Path:
    """Let the new folder have the name of the other; returns where the other is now."""
    if not folder.exists():
        new.rename(folder)
    elif not _exchange(new, folder):
        old = new.with_name(new.name.replace(f".{folder.name}.new.", f".{folder.name}.old."))
        with unstopped():
            folder.rename(old)
            new.rename(folder)
        return old
    return new


def _is_replaced(path: Path, successor: Path) -> bool:
    """Whether a successor takes the place of what is there; in a folder it is for each file to be told."""
    folders = all(p.is_dir() and not p.is_symlink() for p in (path, successor))
    return os.path.lexists(successor) and not folders


def _link(source: str, target: str, *, follow_symlinks: bool = False) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # no hard links here
        shutil.copy2(source, target, follow_symlinks=False)


def _flush(path: Path) -> None:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    if path.is_dir():
        flush_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; whether the system can."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_FDCWD, os.fsencode(one), _FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(other))

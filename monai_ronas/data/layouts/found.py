# SPDX-License-Identifier: Apache-2.0
"""What a layout finds, and the look for a file by the path that is listed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_ronas.data.case import Case
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.formats import ENDINGS, dicom_files, ending, stem


@dataclass(frozen=True)
class Found:
    """The cases of a data set.

    Attributes:
        layout: its name.
        cases: those whose files are there, sorted by name.
        faults: what is wrong with the others, as pairs (case or entry, problem).
    """

    layout: str
    cases: tuple[Case, ...]
    faults: tuple[tuple[str, str], ...]


def sorted_cases(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Cases by name."""
    return tuple(sorted(cases, key=lambda case: case.name))


def paths_of(entry: Any, key: str) -> list[str] | None:
    """The path or paths under a key of an entry in ``dataset.json``; None where they are none.

    Paths as Windows writes them become those of every system.
    """
    given = entry.get(key) if isinstance(entry, dict) else None
    paths = given if isinstance(given, list) else [given]
    if not paths or not all(isinstance(path, str) for path in paths):
        return None
    return [str(path).replace("\\", "/") for path in paths]


def case_paths(entry: Any, image_key: str) -> tuple[list[str], str] | None:
    """The paths of the image's channels and of the label of an entry; None where one is missing."""
    images, labels = paths_of(entry, image_key), paths_of(entry, "label")
    return (images, labels[0]) if images and labels and len(labels) == 1 else None


def capital_ending(path: Path) -> bool:
    """Whether a file would have one of the known endings if that were written in small letters."""
    return not ending(path) and bool(ending(path.name.lower()))


def listed_image(listed: Sequence[str], root: Path) -> Path | tuple[Path, ...]:
    """Path, or paths of the channels, of an image.

    Where ``a.nii.gz`` is listed and missing but ``a_0000.nii.gz`` is there, as in the first version of nnU-Net, that
    and the channels after it are meant.

    Args:
        listed: paths of its channels, or the one path, below the folder.
        root: the data set's folder.

    Raises:
        DatasetError: a part of a sentence, when a file is missing, outside or of an unknown format.
    """
    try:
        paths = tuple(listed_path(item, "image", root) for item in listed)
    except FileNotFoundError:
        path = root / listed[0]
        paths = numbered_channels(path.parent, stem(path), ending(path)) if len(listed) == 1 else ()
        if not paths:
            raise
    return paths if len(paths) > 1 else paths[0]


def existing_images(entries: Iterable[Any], key: str, root: Path) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Paths of the images that entries list under a key, and what is wrong with the other entries."""
    found: list[tuple[Path, ...]] = []
    faults: list[str] = []
    for entry in entries:
        listed = paths_of(entry, key)
        if listed is None:
            faults.append(f"in dataset.json an image path is needed, received {entry!r:.80}")
            continue
        if Path(listed[0]).name.startswith("._"):  # resource forks of macOS archives, not volumes
            continue
        try:
            image = listed_image(listed, root)
        except (DatasetError, OSError) as error:
            faults.append(f"{error} (listed in dataset.json)")
            continue
        found.append(image if isinstance(image, tuple) else (image,))
    return found, faults


def listed_label(listed: str, root: Path) -> Path:
    """Path of a label; otherwise as :func:`listed_image`."""
    return listed_path(listed, "label", root)


class _Missing(DatasetError, FileNotFoundError):
    """A listed file that is missing."""


def listed_path(listed: str, what: str, root: Path) -> Path:
    """Path of a listed file, or folder with a DICOM series, below ``root``; links are not followed.

    Raises:
        DatasetError: a part of a sentence; a ``FileNotFoundError`` as well where the file is missing.
    """
    if "\0" in listed:
        raise DatasetError(f"the {what} path has a null character")
    base = Path(os.path.abspath(root))
    path = Path(os.path.abspath(base / listed))
    if base not in path.parents:
        raise DatasetError(f"the {what} '{listed}' lies outside of the data set's folder")
    if what == "image" and path.is_dir():
        if not dicom_files(path):
            raise DatasetError(f"the image '{listed}' is a folder without DICOM files")
        return path
    if capital_ending(path):
        raise DatasetError(f"the {what} '{listed}' has an ending in capital letters: rename it to small ones")
    if not ending(path):
        series = ", or a folder of one DICOM series" if what == "image" else ""
        raise DatasetError(f"the {what} '{listed}' is neither {', '.join(ENDINGS[:-1])} nor {ENDINGS[-1]}{series}")
    other = path.with_name(stem(path) + (".nii" if path.name.endswith(".gz") else ".nii.gz"))
    if path.is_file():
        return path
    if ending(path) in (".nii", ".nii.gz") and other.is_file():  # listed compressed and unpacked, or the reverse
        return other
    found = "is a folder" if path.is_dir() else "is a link that leads nowhere" if path.is_symlink() else "is missing"
    raise _Missing(f"the {what} file '{listed}' {found}")


def numbered_channels(folder: Path, name: str, end: str) -> tuple[Path, ...]:
    """The files ``name_0000``, ``name_0001`` and so on of a folder, up to the first that is missing."""
    channels: list[Path] = []
    while (path := folder / f"{name}_{len(channels):04d}{end}").exists():
        channels.append(path)
    return tuple(channels)

# SPDX-License-Identifier: Apache-2.0
"""The formats of volumes, told by the names of their files."""

from __future__ import annotations

import os
import re
from pathlib import Path

NIFTI = (".nii.gz", ".nii")
"""Endings of the files that nibabel reads."""

SIMPLEITK = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the files that SimpleITK reads."""

ENDINGS = (*NIFTI, *SIMPLEITK)
"""Endings of all files of volumes; images may be folders of DICOM files as well."""

DICOM = "DICOM"
DICOM_ENDING = ".dcm"
_FORMATS = {
    ".nii.gz": "NIfTI",
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
_MAGIC = b"DICM"
_PREAMBLE = 128  # bytes in front of it
_META = 512  # bytes, in which the class of a DICOM object is told: element (0002,0002), always little endian
_CLASS = re.compile(rb"\x02\0\x02\0UI..([\d.]+)", re.DOTALL)
_STORAGE = "1.2.840.10008.5.1.4."
_OTHER_THAN_IMAGES = (  # DICOM part 4, annex B: beginnings of classes that are not images from a scanner
    "1.2.840.10008.1.3.",  # directories of media
    *(f"{_STORAGE}1.1.{kind}" for kind in ("4.2", "66", "67")),  # spectra; raw data, registrations, SEG; value mappings
    *(f"{_STORAGE}1.1.{kind}." for kind in ("9", "11", "66", "88", "104", "481")),  # curves, views, reports, papers, RT
    *(f"{_STORAGE}{kind}." for kind in ("34", "38", "39", "43", "44", "45")),  # plans, protocols, palettes, implants
)
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_LONGEST_HEADER = 2**16
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def ending(path: str | os.PathLike[str]) -> str:
    """The ending of a volume's file, one of :data:`ENDINGS`; empty for other files.

    Example:
        >>> ending("a.v1.nii.gz"), ending("a.gz")
        ('.nii.gz', '')
    """
    name = Path(path).name
    return next((end for end in ENDINGS if name.endswith(end) and name != end), "")


def stem(path: str | os.PathLike[str]) -> str:
    """Name of a volume's file without its ending.

    Example:
        >>> stem("imagesTr/a.v1.nii.gz"), stem("series")
        ('a.v1', 'series')
    """
    return Path(path).name.removesuffix(ending(path))


def channel_number(path: str | os.PathLike[str]) -> tuple[str, int] | None:
    """Name of the case and number of the channel of a file as ``case_0000.nii.gz``; None where it has none.

    Example:
        >>> channel_number("imagesTr/a_1_0002.nrrd"), channel_number("a.nrrd")
        (('a_1', 2), None)
    """
    match = _CHANNEL.fullmatch(stem(path))
    return (match[1], int(match[2])) if match else None


def format_of(path: str | os.PathLike[str]) -> str | None:
    """``"NIfTI"``, ``"NRRD"``, ``"MetaImage"`` or, for a DICOM file or a folder of such, ``"DICOM"``; or None."""
    found = _FORMATS.get(ending(path))
    if found is None or Path(path).is_dir():
        return DICOM if dicom_files(path) or is_dicom(Path(path)) else None
    return found


def dicom_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The DICOM files of images in a folder, sorted by name, told by their first bytes or by ``.dcm``.

    Folders below it are not looked into; hidden files, ``DICOMDIR`` and DICOM objects that are not images, such as
    reports, RT structures and segmentations, are left out.
    """
    root = Path(folder)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if is_dicom(path))


def is_dicom(path: Path) -> bool:
    """Whether a file looks like a DICOM file of an image."""
    if path.name.startswith(".") or path.name == "DICOMDIR" or ending(path) or not path.is_file():
        return False
    named = path.suffix.lower() == DICOM_ENDING
    try:
        with path.open("rb") as file:
            head = file.read(_META)[_PREAMBLE:]
    except OSError:
        return named
    if not head.startswith(_MAGIC):
        return named
    found = _CLASS.search(head)
    return found is None or not _is_other(found[1].decode("ascii"))


def _is_other(uid: str) -> bool:
    """Whether a class of DICOM objects is not that of images from a scanner."""
    return any(uid.startswith(kind) if kind.endswith(".") else uid == kind for kind in _OTHER_THAN_IMAGES)


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """All files in which a volume is stored: of a DICOM series, or of a header with its data in another file."""
    volume = Path(path)
    if volume.is_dir():
        return dicom_files(volume)
    if ending(volume) not in (".mhd", ".nhdr"):
        return [volume]
    with volume.open("rb") as file:
        named = _DATA_FILE.search(file.read(_LONGEST_HEADER))
    if named is None:
        return [volume]
    data = volume.parent / os.fsdecode(named[1])
    if data.is_file():
        return [volume, data]
    return [volume, *sorted(item for item in volume.parent.iterdir() if item.is_file() and item != volume)]  # a list

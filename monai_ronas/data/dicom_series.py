# SPDX-License-Identifier: Apache-2.0
"""DICOM series: those of a folder, and the files of one in the order of its slices, with the volume's geometry."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from monai_ronas.data.errors import VolumeError
from monai_ronas.data.formats import dicom_files

logger = logging.getLogger(__name__)
GAP_TOLERANCE = 0.1
"""Largest accepted distance of a slice from its place in an evenly spaced volume, as a part of the gap."""

_SAME = 1e-3  # of direction cosines, and of pixel sizes in mm
_SERIES, _NUMBER, _INSTANCE = "0020|000e", "0020|0011", "0008|0018"
_POSITION, _THICKNESS = "0020|0032", "0018|0050"


@dataclass(frozen=True)
class _Slice:
    path: Path
    series: str
    number: str  # of the series
    instance: str
    components: int
    has_position: bool
    size: tuple[int, ...]
    spacing: np.ndarray  # (2,), mm
    axes: np.ndarray  # (3, 2): the directions of rows and columns, LPS
    position: np.ndarray  # (3,): of the first voxel's middle, mm, LPS
    thickness: float

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.axes[:, 0], self.axes[:, 1])


def series_of(folder: str | os.PathLike[str]) -> tuple[list[list[Path]], list[Path]]:
    """The files of a folder by the DICOM series they belong to.

    Headers are read, pixels are not.

    Args:
        folder: the folder; those below it are not looked into.

    Returns:
        The files of each series, in the order of their first files, and the files whose headers cannot be read.
    """
    groups: dict[str, list[Path]] = {}
    broken = []
    for path in dicom_files(folder):
        piece = _read_header(path)
        if piece is None:
            broken.append(path)
        else:
            groups.setdefault(piece.series, []).append(path)
    return list(groups.values()), broken


def series_name(path: str | os.PathLike[str]) -> str:
    """A name for the DICOM series that a file belongs to: that of its folder.

    Where the folder holds several, the series number follows, or the series' UID where numbers do not tell them apart.
    """
    file = Path(os.path.abspath(path))
    heads = [_read_header(files[0]) for files in series_of(file.parent)[0]]
    own = _read_header(file)
    if own is None or len(heads) < 2:
        return file.parent.name
    numbers = [head.number for head in heads if head is not None]
    told = own.number.isdecimal() and numbers.count(own.number) == 1
    return f"{file.parent.name}_{own.number if told else own.series}"


def ordered_slices(path: str | os.PathLike[str]) -> tuple[list[Path], np.ndarray]:
    """The files of one DICOM series, in the order of their positions along the normal of the slices.

    That is GDCM's order. Every header is read and the positions are checked; pixels are not read.

    Args:
        path: a folder with one series; or one of the files of a series, where its folder holds others as well. Folders
            below it are not looked into.

    Returns:
        The files, and the affine of the volume, voxel to world (mm, LPS as DICOM has it), ``(4, 4)``. It follows from
        the positions, so that series of oblique slices, or those of a tilted gantry, have their own.

    Raises:
        VolumeError: when the folder holds several series or the series several volumes, slices that are missing,
            doubled, unevenly spaced or not parallel, colour, several frames in a file, or a file that is not an image.
    """
    root = Path(path)
    files = dicom_files(root) if root.is_dir() else _companions(root)
    if not files:
        raise VolumeError(f"'{root.name}': the folder holds no DICOM image")
    slices = [_header(file, root) for file in files]
    _refuse_mixture(slices, root)
    normal = slices[0].normal
    slices.sort(key=lambda piece: float(piece.position @ normal))
    step = _even_step(slices, root)
    affine = np.eye(4)
    affine[:3, :2] = slices[0].axes * slices[0].spacing
    affine[:3, 2] = step
    affine[:3, 3] = slices[0].position
    return [piece.path for piece in slices], affine


def _companions(file: Path) -> list[Path]:
    """The files of the series that a file belongs to."""
    series, broken = series_of(file.parent)
    own = next((files for files in series if file in files), [file])
    if len(series) == 1:
        return sorted([*own, *broken])  # the broken are of this series, and refused
    if broken and file not in broken:
        logger.warning("'%s' cannot be read and may be a slice of the series of '%s'", broken[0].name, file.name)
    return own


def _header(path: Path, root: Path) -> _Slice:
    """The header of a file, of a slice that can be one of a volume's."""
    piece = _read_header(path)
    if piece is None:
        raise VolumeError(
            f"'{root.name}': its DICOM file '{path.name}' is not an image that can be read: mend it or take it away"
        )
    if piece.components > 1:
        raise VolumeError(f"'{root.name}': the DICOM file '{path.name}' is in colour, where grey values are expected")
    if any(number > 1 for number in piece.size[2:]):
        raise VolumeError(
            f"'{root.name}': the DICOM file '{path.name}' has {piece.size[2]} frames, which is not supported:"
            " convert it to one file a slice or to NIfTI"
        )
    if not piece.has_position:
        raise VolumeError(f"'{root.name}': the DICOM file '{path.name}' does not tell the position of its slice")
    return piece


def _read_header(path: Path) -> _Slice | None:
    """The header of a file; None where it cannot be read."""
    facts = path.stat()
    return _remembered_header(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=2**15)  # a series is looked at when volumes are listed, named and read
def _remembered_header(path: Path, changed: int, size: int) -> _Slice | None:
    import SimpleITK as sitk  # here, as it takes a while

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    shape = reader.GetSize()
    return _Slice(
        path=path,
        series=_tag(reader, _SERIES),
        number=_tag(reader, _NUMBER),
        instance=_tag(reader, _INSTANCE),
        components=reader.GetNumberOfComponents(),
        has_position=bool(_tag(reader, _POSITION)),
        size=tuple(shape),
        spacing=np.array(reader.GetSpacing()[:2]),
        axes=np.array(reader.GetDirection()).reshape(len(shape), len(shape))[:3, :2],
        position=np.array(reader.GetOrigin()[:3]),
        thickness=_number(_tag(reader, _THICKNESS)),
    )


def _tag(reader: Any, key: str) -> str:
    return str(reader.GetMetaData(key)).strip("\0 ") if reader.HasMetaDataKey(key) else ""


def _number(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0


def _refuse_mixture(slices: Sequence[_Slice], root: Path) -> None:
    """Refuse what is not one stack of parallel slices of one size."""
    first = slices[0]
    seen: dict[str, _Slice] = {}
    for piece in slices:
        other = seen.setdefault(piece.instance, piece) if piece.instance else piece
        if other is not piece:
            raise VolumeError(
                f"'{root.name}': the same DICOM slice is there twice ('{other.path.name}', '{piece.path.name}'):"
                " take one of them away"
            )
    series = len({piece.series for piece in slices})
    if series > 1:
        raise VolumeError(
            f"'{root.name}': the folder holds {series} DICOM series where one is expected:"
            " put each into a folder of its own"
        )
    for piece in slices:
        if np.abs(piece.axes - first.axes).max() > _SAME:
            raise VolumeError(f"'{root.name}': the DICOM slices are not parallel: leave those of other directions out")
        if piece.size[:2] != first.size[:2] or np.abs(piece.spacing - first.spacing).max() > _SAME:
            raise VolumeError(
                f"'{root.name}': the DICOM slices differ in size or in the size of their pixels"
                f" ('{first.path.name}', '{piece.path.name}')"
            )


def _even_step(slices: Sequence[_Slice], root: Path) -> np.ndarray:
    """The vector from each slice to the next, mm; refuses slices that are not evenly spaced."""
    if len(slices) == 1:
        return slices[0].normal * (slices[0].thickness or 1.0)
    positions = np.array([piece.position for piece in slices])
    heights = positions @ slices[0].normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps[gaps > _SAME])) if (gaps > _SAME).any() else 0.0
    doubled = int(np.count_nonzero(gaps <= max(_SAME, GAP_TOLERANCE * usual)))
    if doubled:
        places = len(slices) - doubled
        if len(slices) % places == 0:
            raise VolumeError(
                f"'{root.name}': the DICOM series has {len(slices) // places} slices at each of its {places} positions,"
                " such as several b-values or moments of time: put each volume into a folder of its own"
            )
        raise VolumeError(f"'{root.name}': {doubled} position(s) of the DICOM series have more than one slice")
    missing = np.rint(gaps / usual) - 1
    if (missing > 0).any() and np.allclose(gaps / (missing + 1), usual, rtol=2 * GAP_TOLERANCE):
        raise VolumeError(
            f"'{root.name}': {int(missing.sum())} slice(s) of the DICOM series are missing, the first after"
            f" '{slices[int(np.argmax(missing > 0))].path.name}'"
        )
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    even = positions[0] + np.arange(len(slices))[:, None] * step
    farthest = float(np.linalg.norm(positions - even, axis=1).max())
    if farthest > GAP_TOLERANCE * usual:
        raise VolumeError(
            f"'{root.name}': the slices of the DICOM series are unevenly spaced, {gaps.min():.4g} to"
            f" {gaps.max():.4g} mm, one {farthest:.4g} mm from where it should be"
            f" (accepted: {GAP_TOLERANCE * usual:.4g} mm)"
        )
    return step

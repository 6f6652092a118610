# SPDX-License-Identifier: Apache-2.0
"""The files of predictions: their names, format and type."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, SaveImaged
from monai.utils import ensure_tuple

from monai_ronas.data import VolumeError
from monai_ronas.data.dicom_seg import DicomSegWriter, require_highdicom
from monai_ronas.data.dicom_series import series_name
from monai_ronas.data.formats import DICOM, DICOM_ENDING, ENDINGS, NIFTI, channel_number, ending, format_of, stem
from monai_ronas.data.writing import write_volume
from monai_ronas.errors import SettingError

logger = logging.getLogger(__name__)
_ENDINGS = (*ENDINGS, DICOM_ENDING)
MAPS = ("entropy", "mutual_information")
Volume = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class PredictionFiles:
    """Where, and in which format, the prediction for a volume is written.

    Args:
        root: the folder of the volumes; what is below it has the same place below ``output_dir``.
        output_dir: the folder of the predictions.
        output_ext: ending of their files; None for that of the volume, and ``.nii.gz`` for NIfTI and DICOM; ``.dcm``
            for DICOM SEG, of volumes that are DICOM series.
        dicom_seg: writes DICOM SEG.
        channels: of the network: with several, ``a_0000.nii.gz`` beside ``a_0001.nii.gz`` is a channel of ``a``.

    Raises:
        SettingError: when the ending is unknown, or ``.dcm`` without highdicom.

    Example:
        >>> files = PredictionFiles("in", "out")
        >>> [files.path(name).name for name in ("in/a.nii", "in/b.v1.mha", "in/series")]
        ['a_seg.nii.gz', 'b.v1_seg.mha', 'series_seg.nii.gz']
    """

    root: str | os.PathLike[str]
    output_dir: str | os.PathLike[str]
    output_ext: str | None = None
    dicom_seg: DicomSegWriter | None = None
    channels: int = 1

    def __post_init__(self) -> None:
        if self.output_ext is not None and self._given not in _ENDINGS:
            known = ", ".join(_ENDINGS)
            raise SettingError(f"output_ext must be null or one of {known}, received {self.output_ext!r}.")
        if self._given == DICOM_ENDING:
            require_highdicom()
            if self.dicom_seg is None:
                raise SettingError("output_ext .dcm needs dicom_seg, which says what the labels are.")

    def path(self, volume: Volume) -> Path:
        """The file of the prediction for a volume, which may have several paths, its channels.

        It is ``a_seg.nii.gz`` for ``a.nii.gz``, ``a.nii`` and the channels ``a_0000.nii.gz`` and ``a_0001.nii.gz``.
        Where ``a.nii`` and ``a.nii.gz`` are both there, that for ``a.nii`` is ``a.nii_seg.nii.gz``. That for a DICOM
        series is named after its folder, and where this holds several, after the series number or UID as well.
        """
        first = Path(os.path.abspath(ensure_tuple(volume)[0]))
        return self._place(first, self._given or _own_ending(first))

    def map_path(self, volume: Volume, kind: str) -> Path:
        """The file of a map of real numbers beside the prediction, ``.nii.gz`` where this is DICOM SEG.

        Args:
            volume: path, or paths of the channels.
            kind: which map, one of :data:`MAPS`.
        """
        first = Path(os.path.abspath(ensure_tuple(volume)[0]))
        given = ".nii.gz" if self._given == DICOM_ENDING else self._given
        return self._place(first, given or _own_ending(first), kind)

    def paths(self, volume: Volume) -> list[Path]:
        """The files that the prediction for a volume, and maps, may have in any format, ``output_ext`` aside."""
        first = Path(os.path.abspath(ensure_tuple(volume)[0]))
        return [self._place(first, end, kind) for kind in ("seg", *MAPS) for end in ENDINGS]

    def check(self, volume: Volume) -> None:
        """See that the prediction for a volume can be written.

        Raises:
            VolumeError: when it is not a DICOM series, or not one that a DICOM SEG can refer to, and ``output_ext`` is
                ``.dcm``.
        """
        if self.dicom_seg is not None and self._given == DICOM_ENDING:
            path = Path(ensure_tuple(volume)[0])
            if format_of(path) != DICOM:
                raise VolumeError(
                    f"'{path.name}': it is not a DICOM series, which a DICOM SEG must refer to: choose another"
                    " output_ext than .dcm"
                )
            self.dicom_seg.check(path)

    def write(self, volume: Volume, voxels: np.ndarray, affine: np.ndarray) -> Path:
        """Write the prediction for a volume.

        Args:
            volume: path, or paths of the channels.
            voxels: ``(X, Y, Z)``, on the grid of the volume.
            affine: voxel to world (mm, RAS), ``(4, 4)``.

        Returns:
            the file.

        Raises:
            OSError: when it cannot be written.
            VolumeError: when a DICOM SEG cannot refer to the volume.
        """
        path = self.path(volume)
        if self.dicom_seg is not None and self._given == DICOM_ENDING:
            self.dicom_seg.write(path, voxels, ensure_tuple(volume)[0])
        else:
            write_volume(path, voxels, affine)
        return path

    @property
    def _given(self) -> str | None:
        return None if self.output_ext is None else f".{str(self.output_ext).lstrip('.')}"

    def _place(self, path: Path, end: str, kind: str = "seg") -> Path:
        subject = _subject(path, self.channels)
        if not ending(path) and path.is_file():  # of a series in a folder with others
            subject, path = series_name(path), path.parent
        root = Path(os.path.abspath(self.root))
        below = path.parent.relative_to(root) if root in path.parents else Path()
        return Path(os.path.abspath(self.output_dir)) / below / f"{subject}_{kind}{end}"


def _own_ending(path: Path) -> str:
    return ending(path) if ending(path) not in ("", *NIFTI) else ".nii.gz"


def _subject(path: Path, channels: int) -> str:
    numbered = channel_number(path) if channels > 1 else None
    if numbered is not None and numbered[1] == 0 and path.with_name(f"{numbered[0]}_0001{ending(path)}").exists():
        return numbered[0]
    twin = path.name.endswith(".nii") and path.with_name(f"{path.name}.gz").exists()
    return path.name if twin else stem(path)


class SavePredictiond(SaveImaged):
    """Write predictions in the geometry of their volumes.

    One whose volume came from no file, as in MONAI Deploy, has no place: it stays in the item only.

    Args:
        keys: keys of discrete predictions ``(1, X, Y, Z)``.
        files: where they are written.
        output_dtype: their type, a whole number.
    """

    def __init__(self, keys: KeysCollection, *, files: PredictionFiles, output_dtype: str) -> None:
        super().__init__(keys, output_dir=str(files.output_dir))  # one of MONAI's, so that MONAI Label leaves it out
        self.files = files
        self.output_dtype = output_dtype

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the predictions of an item and return it as it is.

        Raises:
            OSError: when a file cannot be written.
            VolumeError: when a DICOM SEG cannot refer to the volume.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            volume = item[key]
            if "filename_or_obj" not in volume.meta:
                continue
            voxels = volume.detach().cpu().numpy()[0].astype(self.output_dtype)
            affine = volume.affine.cpu().numpy().astype(np.float64)
            path = self.files.write(str(volume.meta["filename_or_obj"]), voxels, affine)
            below = os.path.relpath(path, self.files.output_dir)
            logger.info("written: '%s'", Path(self.files.output_dir, below))  # as the folder was given
        return item


class WarnOfEmptyd(MapTransform):
    """Say so where a prediction has no foreground.

    Args:
        keys: keys of discrete predictions.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item as it is."""
        item = dict(data)
        for key in self.key_iterator(item):
            if not bool((item[key] > 0).any()):
                name = Path(str(getattr(item[key], "meta", {}).get("filename_or_obj", key))).name
                logger.warning("'%s': the network finds no foreground in it", name)
        return item


def label_dtype(values: int) -> str:
    """The smallest type of NIfTI files that holds labels from 0 to below a number, as ``numpy`` names it.

    Example:
        >>> label_dtype(256), label_dtype(257)
        ('uint8', 'uint16')
    """
    return next(kind for kind in ("uint8", "uint16", "int32") if values - 1 <= np.iinfo(kind).max)

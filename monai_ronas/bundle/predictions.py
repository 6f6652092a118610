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

from monai_ronas.data.formats import ENDINGS, NIFTI, channel_number, ending, stem
from monai_ronas.data.writing import write_volume
from monai_ronas.errors import SettingError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionFiles:
    """Where the prediction for a volume is written.

    Args:
        root: the folder of the volumes; what is below it has the same place below ``output_dir``.
        output_dir: the folder of the predictions.
        output_ext: ending of their files; None for that of the volume, and ``.nii.gz`` for NIfTI and DICOM.

    Raises:
        SettingError: when the ending is unknown.

    Example:
        >>> files = PredictionFiles("in", "out")
        >>> [files.path(name).name for name in ("in/a.nii", "in/b.v1.mha", "in/series")]
        ['a_seg.nii.gz', 'b.v1_seg.mha', 'series_seg.nii.gz']
    """

    root: str | os.PathLike[str]
    output_dir: str | os.PathLike[str]
    output_ext: str | None = None

    def __post_init__(self) -> None:
        if self.output_ext is not None and self._ending(self.output_ext) not in ENDINGS:
            raise SettingError(f"output_ext must be null or one of {', '.join(ENDINGS)}, received {self.output_ext!r}.")

    def path(self, volume: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Path:
        """The file of the prediction for a volume, which may have several paths, its channels.

        It is ``a_seg.nii.gz`` for ``a.nii.gz``, ``a.nii`` and the channels ``a_0000.nii.gz`` and ``a_0001.nii.gz``.
        Where ``a.nii`` and ``a.nii.gz`` are both there, that for ``a.nii`` is ``a.nii_seg.nii.gz``.
        """
        path = Path(os.path.abspath(ensure_tuple(volume)[0]))
        root = Path(os.path.abspath(self.root))
        below = path.parent.relative_to(root) if root in path.parents else Path()
        own = ending(path) if ending(path) not in ("", *NIFTI) else ".nii.gz"
        chosen = own if self.output_ext is None else self._ending(self.output_ext)
        return Path(os.path.abspath(self.output_dir)) / below / f"{_subject(path)}_seg{chosen}"

    @staticmethod
    def _ending(given: str) -> str:
        return f".{str(given).lstrip('.')}"


def _subject(path: Path) -> str:
    numbered = channel_number(path)
    if numbered is not None and numbered[1] == 0 and path.with_name(f"{numbered[0]}_0001{ending(path)}").exists():
        return numbered[0]
    twin = path.name.endswith(".nii") and path.with_name(f"{path.name}.gz").exists()
    return path.name if twin else stem(path)


class SavePredictiond(SaveImaged):
    """Write predictions in the geometry of their volumes.

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
        """
        item = dict(data)
        for key in self.key_iterator(item):
            volume = item[key]
            path = self.files.path(str(volume.meta["filename_or_obj"]))
            voxels = volume.detach().cpu().numpy()[0].astype(self.output_dtype)
            write_volume(path, voxels, volume.affine.cpu().numpy().astype(np.float64))
            logger.info("written: '%s'", path)
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

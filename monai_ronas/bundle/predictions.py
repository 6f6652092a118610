# SPDX-License-Identifier: Apache-2.0
"""The files of predictions: their names, type and shape."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import NibabelWriter
from monai.transforms import MapTransform

logger = logging.getLogger(__name__)


def prediction_name(path: str | os.PathLike[str]) -> str:
    """Name of the file with the prediction for a volume: ``a_seg.nii.gz`` for ``a.nii.gz`` and ``a.nii``.

    Where both are there, that for the second is ``a.nii_seg.nii.gz``.
    """
    return f"{_subject(Path(path))}_seg.nii.gz"


def name_prediction(meta: Mapping[str, Any], saver: Any) -> dict[str, Any]:
    """What ``SaveImage`` asks for names by (``output_name_formatter``), so that it gives :func:`prediction_name`."""
    return {"subject": f"{_subject(Path(str(meta['filename_or_obj'])))}.nii.gz", "idx": None}


def _subject(path: Path) -> str:
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    twin = path.name.endswith(".nii") and path.with_name(f"{path.name}.gz").exists()
    return path.name if twin else stem


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


class VolumeWriter(NibabelWriter):
    """Write volumes ``(1, X, Y, Z)`` as files ``(X, Y, Z)``, those of a single slice too."""

    def set_data_array(
        self, data_array: Any, channel_dim: int | None = 0, squeeze_end_dims: bool = True, **kwargs: Any
    ) -> None:
        """Take the voxels; of the trailing axes of one only the channels' is left out."""
        super().set_data_array(data_array, channel_dim=channel_dim, squeeze_end_dims=False, **kwargs)
        if channel_dim is not None and self.data_obj.shape[-1] == 1:
            self.data_obj = self.data_obj[..., 0]


def label_dtype(values: int) -> str:
    """The smallest type of NIfTI files that holds labels from 0 to below a number, as ``torch`` or ``numpy`` names it.

    Example:
        >>> label_dtype(256), label_dtype(257)
        ('uint8', 'uint16')
    """
    return next(kind for kind in ("uint8", "uint16", "int32") if values - 1 <= np.iinfo(kind).max)

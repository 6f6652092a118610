# SPDX-License-Identifier: Apache-2.0
"""Loading and checking of the volumes of a case, the first steps of every preprocessing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, NibabelReader
from monai.transforms import EnsureChannelFirst, LoadImaged, MapTransform

from monai_ronas.data.compression import check_compression
from monai_ronas.data.errors import Fault, VolumeError
from monai_ronas.data.image_faults import affine_faults, channel_faults, spacing_faults, value_faults
from monai_ronas.data.label_faults import on_image_grid, undeclared_faults, whole_numbers
from monai_ronas.data.reading import ChannelFilesReader, broken_file
from monai_ronas.data.simpleitk_reader import SimpleITKReader

_COMPLEX = {32, 1792, 2048}  # datatypes of NIfTI


class LoadVolumed(LoadImaged):
    """MONAI's ``LoadImaged``, channel first, which names the file that cannot be read in one sentence.

    NIfTI is read through nibabel, NRRD, MetaImage and folders of one DICOM series through :class:`SimpleITKReader`.
    Several paths are the channels of one image. An image that is in memory already, as MONAI Deploy has it, is only
    brought to channel first and float32.

    Args:
        keys: keys of paths, or of a ``MetaTensor`` whose ``original_channel_dim`` tells its axis of channels.

    Raises:
        VolumeError: when a file cannot be read, or an image in memory does not tell its axis of channels.

    Example:
        >>> inside = MetaTensor(torch.zeros(4, 5, 6), meta={"original_channel_dim": "no_channel"})
        >>> LoadVolumed("image")({"image": inside})["image"].shape
        torch.Size([1, 4, 5, 6])
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys, image_only=True, ensure_channel_first=True)
        readers = (NibabelReader(), SimpleITKReader(), ChannelFilesReader())
        self._loader.readers = list(readers)  # the same, and the same hash, whatever else is installed

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Load the volumes of an item, in float32."""
        item = dict(data)
        for key in self.key_iterator(item):
            given = item[key]
            if isinstance(given, (np.ndarray, torch.Tensor)):
                item[key] = _channel_first(key, given)
                continue
            try:
                item.update(self._loaded(key, given, reader))
            except VolumeError:
                raise
            except Exception as error:  # whatever a broken file makes the reader or the decompressor raise
                files = given if isinstance(given, (list, tuple)) and given else [given]
                path = broken_file(error, [Path(str(file)) for file in files])
                name = path.name or str(given)
                words = "it is a folder" if path.name and path.is_dir() else _first_words(error)
                raise VolumeError(f"'{name}': the {key} file cannot be read ({words})") from error
        return item

    def _loaded(self, key: Hashable, given: Any, reader: Any) -> dict[Hashable, Any]:
        if isinstance(given, (str, Path)):
            check_compression(Path(given))
        loaded: Any = self._loader(given, reader)
        if self._loader.image_only:
            return {key: loaded}
        return {key: loaded[0], f"{key}_meta_dict": loaded[1]}  # MONAI Label wants the meta data apart


def _channel_first(key: Hashable, image: Any) -> torch.Tensor:
    """An image that is in memory, in float32."""
    try:
        return EnsureChannelFirst()(image).float()
    except ValueError as error:
        raise VolumeError(
            f"the {key} in memory does not tell its axis of channels: give a MetaTensor with original_channel_dim in "
            "its meta, 'no_channel' where there is none"
        ) from error


class CheckImaged(MapTransform):
    """Refuse an image that preprocessing would turn into nothing, or into something else than the network knows.

    That is, one that is not a volume, has another number of channels, NaN or infinite values, one value throughout, or
    voxels of another scale. A volume of one slice is in order.

    Args:
        keys: keys of images as :class:`LoadVolumed` gives them.
        channels: number of channels.
        spacing: usual size of the voxels in mm, axes in RAS order.

    Example:
        >>> volume = MetaTensor(torch.arange(8.0).reshape(1, 2, 2, 2), affine=torch.diag(torch.tensor([50.0, 1, 1, 1])))
        >>> CheckImaged("image", channels=1, spacing=(1, 1, 1))({"image": volume})
        Traceback (most recent call last):
        ...
        monai_ronas.errors.VolumeError: 'image': the image has voxels of 50 x 1 x 1 mm where 1 x 1 x 1 mm are \
usual in the data set: it would be resampled to 51 x 2 x 2 voxels
    """

    def __init__(self, keys: KeysCollection, *, channels: int, spacing: Sequence[float]) -> None:
        super().__init__(keys)
        self.channels = channels
        self.spacing = tuple(float(size) for size in spacing)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item as it is.

        Raises:
            VolumeError: with the file's name and the first fault.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            faults = self._faults(item[key])
            if faults:
                raise VolumeError(f"'{_file_name(item[key], key)}': {faults[0]}")
        return item

    def _faults(self, image: torch.Tensor) -> list[str]:
        meta = getattr(image, "meta", {})
        if image.ndim != 4 or 0 in image.shape:
            return [f"the image has shape {tuple(image.shape[1:])} where a volume (X, Y, Z) is expected"]
        if int(meta.get("datatype", 0)) in _COMPLEX:
            return ["the image has complex values"]
        faults = channel_faults(len(image), self.channels, where="the network has")
        if not faults:
            faults = value_faults(np.asarray(image))
        affine = _affine(image)
        faults = faults or affine_faults(affine)
        if faults:
            return faults
        order = np.argsort(nib.io_orientation(affine)[:, 0])
        shape, sizes = np.array(image.shape[1:])[order], nib.affines.voxel_sizes(affine)[order]
        return spacing_faults(shape.tolist(), sizes.tolist(), self.spacing)


class CheckLabeld(MapTransform):
    """Bring a label to the grid of its image, with the indices of the classes for values, or refuse it.

    A label with the image's voxels in another order of axes is turned, one within the tolerance of the image's grid
    takes the image's affine, values that are whole numbers but for a rounding become such: see
    :mod:`monai_ronas.data.label_faults`.

    Args:
        keys: keys of labels as :class:`LoadVolumed` gives them.
        image_key: key of their image, still on its own grid.
        labels: declared value of each class, ascending from 0, the background; or their number, for the values
            ``0, 1, ..``.
        ignore_label: declared value of voxels that nobody has labelled, which become the number of classes; None: none.
        resample: labels on another grid are resampled by the nearest voxel instead of refused.

    Example:
        >>> volume = MetaTensor(torch.tensor([0.0, 0.99999994]).reshape(1, 2, 1, 1))
        >>> CheckLabeld("label", image_key="image", labels=2)({"image": volume, "label": volume})["label"].sum()
        metatensor(1.)
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        image_key: str,
        labels: int | Sequence[int],
        ignore_label: int | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.labels = tuple(range(labels) if isinstance(labels, int) else labels)
        self.ignore_label = ignore_label
        self.resample = resample

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the labels of an item.

        Returns:
            the item, with labels ``(1, X, Y, Z)`` of the image's shape and affine, the classes' indices.

        Raises:
            VolumeError: with the file's name and what is wrong.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            try:
                item[key] = self._sound(item[key], item[self.image_key])
            except Fault as fault:
                raise VolumeError(f"'{_file_name(item[key], key)}': {fault}") from None
        return item

    def _sound(self, label: torch.Tensor, image: torch.Tensor) -> MetaTensor:
        shape = tuple(label.shape)
        if len(shape) != 4 or shape[0] != 1:
            found = (*shape[1:], shape[0]) if shape[0] != 1 else shape[1:]
            raise Fault(f"the label has shape {found} where (X, Y, Z) is expected")
        affine, target = _affine(label), _affine(image)
        faults = affine_faults(affine, what="label")
        if faults:
            raise Fault(faults[0])
        values = whole_numbers(np.asarray(label)[0])
        values = on_image_grid(values, affine, image.shape[1:], target, resample=self.resample)
        values = self._classes(values)
        meta = {key: value for key, value in getattr(label, "meta", {}).items() if key != "affine"}
        meta.update(spatial_shape=np.array(image.shape[1:]), original_affine=target)
        tensor = torch.from_numpy(np.ascontiguousarray(values)[None]).to(label.dtype)
        return MetaTensor(tensor, affine=torch.from_numpy(target), meta=meta)

    def _classes(self, values: np.ndarray) -> np.ndarray:
        """The index of each value's class; the number of classes for those that are ignored."""
        declared = self.labels if self.ignore_label is None else (*self.labels, self.ignore_label)
        if declared == tuple(range(len(declared))) and values.min() >= 0 and values.max() < len(declared):
            return values
        found, places = np.unique(values, return_inverse=True)
        faults = undeclared_faults((int(v) for v in found), sorted(declared), where="the network does not have")
        if faults:
            raise Fault(faults[0])
        return np.array([declared.index(int(v)) for v in found])[places].reshape(values.shape)


def _affine(volume: torch.Tensor) -> np.ndarray:
    return np.asarray(getattr(volume, "affine", np.eye(4)), dtype=np.float64)


def _file_name(volume: Any, key: Hashable) -> str:
    """Name of the file that a volume was read from, or its key."""
    return Path(str(getattr(volume, "meta", {}).get("filename_or_obj", key))).name


def _first_words(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {' '.join(line.split())}".rstrip(": ")

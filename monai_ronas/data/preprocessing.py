# SPDX-License-Identifier: Apache-2.0
"""The deterministic preprocessing of a data set, as components of a MONAI bundle configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_ronas.data.fingerprint import Fingerprint


def loading_config(fingerprint: Fingerprint, *, keys: Sequence[str] = ("image", "label")) -> list[dict[str, Any]]:
    """Return the first of the transforms: volumes are loaded and checked, labels brought to their image's grid.

    Args:
        fingerprint: of the data set.
        keys: the image key, followed by the label key unless only images are loaded.

    Returns:
        JSON-able components as those of :func:`preprocessing_config`.

    Raises:
        ValueError: when ``keys`` has neither one nor two entries.
    """
    image, *labels = _checked(keys)
    components: list[dict[str, Any]] = [
        {"_target_": "monai_ronas.data.LoadVolumed", "keys": [image, *labels]},
        {
            "_target_": "monai_ronas.data.CheckImaged",
            "keys": image,
            "channels": fingerprint.in_channels,
            "spacing": [float(size) for size in fingerprint.target_spacing],
        },
    ]
    if labels:
        components.append(
            {
                "_target_": "monai_ronas.data.CheckLabeld",
                "keys": labels,
                "image_key": image,
                "labels": list(fingerprint.labels),
                "ignore_label": fingerprint.ignore_label,
                "resample": fingerprint.resample_label,
            }
        )
    return components


def preprocessing_config(
    fingerprint: Fingerprint,
    *,
    keys: Sequence[str] = ("image", "label"),
    track_meta: bool = False,
    load: bool = True,
) -> list[dict[str, Any]]:
    """Return the transforms, from loading to tensors, in the words of a MONAI bundle configuration.

    Args:
        fingerprint: of the data set.
        keys: the image key, followed by the label key unless only images are processed.
        track_meta: ``True`` keeps the meta data that ``Invertd`` needs (inference); ``False`` gives plain tensors
            (caches for training and scoring).
        load: begin with :func:`loading_config`.

    Returns:
        JSON-able components with ``_target_``, for the ``transforms`` of a ``Compose``. The result of running them is
        channel-first, RAS-oriented and float32.

    Raises:
        ValueError: when ``keys`` has neither one nor two entries.
    """
    image = _checked(keys)[0]
    names = list(keys)
    spacing = {
        "_target_": "monai_ronas.data.SlabSpacingd",
        "keys": names,
        "pixdim": [float(size) for size in fingerprint.target_spacing],
        "mode": ["bilinear", "nearest"][: len(names)],
    }
    components: list[dict[str, Any]] = [
        *(loading_config(fingerprint, keys=names) if load else ()),
        {"_target_": "Orientationd", "keys": names, "axcodes": "RAS", "labels": None},
        *(_guarded(spacing, image) if len(names) == 1 else [spacing]),
    ]
    if fingerprint.crop_foreground:
        components.append(
            {
                "_target_": "CropForegroundd",
                "keys": names,
                "source_key": image,
                "allow_smaller": True,
                "start_coord_key": None,
                "end_coord_key": None,
            }
        )
    components += _normalization(fingerprint, image)
    components.append({"_target_": "EnsureTyped", "keys": names, "dtype": "$torch.float32", "track_meta": track_meta})
    return components


def build_preprocessing(
    fingerprint: Fingerprint,
    *,
    keys: Sequence[str] = ("image", "label"),
    track_meta: bool = False,
    class_indices: bool = False,
) -> Compose:
    """Instantiate :func:`preprocessing_config`.

    Args:
        fingerprint: of the data set.
        keys: the image key, followed by the label key unless only images are processed.
        track_meta: whether the tensors keep their meta data.
        class_indices: end with :class:`~monai_ronas.data.ClassIndicesd`, by which training crops find the classes.

    Returns:
        The transforms as one ``Compose``.
    """
    transforms = preprocessing_config(fingerprint, keys=keys, track_meta=track_meta)
    if class_indices:
        step = {"_target_": "monai_ronas.data.ClassIndicesd", "keys": keys[-1], "num_classes": fingerprint.out_channels}
        transforms.append(step)
    parser = ConfigParser({"imports": ["$import torch"], "all": {"_target_": "Compose", "transforms": transforms}})
    compose: Compose = parser.get_parsed_content("all")
    return compose


def _checked(keys: Sequence[str]) -> list[str]:
    if len(keys) not in (1, 2):
        raise ValueError(f"keys must be (image,) or (image, label), received {keys}.")
    return list(keys)


def _guarded(spacing: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """``Spacingd`` with the string that MONAI Label adds as ``image_path`` put aside.

    MONAI's ``Spacingd``, on which ours rests, calls ``.update`` on every item whose key begins with ``image_``, in
    MONAI 1.6.0 and 1.6.1.
    """
    path, aside = f"{image}_path", f"_{image}_path"
    return [
        {"_target_": "CopyItemsd", "keys": path, "names": aside, "allow_missing_keys": True},
        {"_target_": "DeleteItemsd", "keys": path},
        spacing,
        {"_target_": "CopyItemsd", "keys": aside, "names": path, "allow_missing_keys": True},
        {"_target_": "DeleteItemsd", "keys": aside},
    ]


def _normalization(fingerprint: Fingerprint, image: str) -> list[dict[str, Any]]:
    """Window and fixed scale if every channel is CT, otherwise z-score per case and channel."""
    channels = fingerprint.normalization
    if any(channel["mode"] != "ct" for channel in channels):
        nonzero = fingerprint.crop_foreground
        return [{"_target_": "NormalizeIntensityd", "keys": image, "nonzero": nonzero, "channel_wise": True}]
    lower = float(min(channel["lower"] for channel in channels))
    upper = float(max(channel["upper"] for channel in channels))
    return [
        {"_target_": "ThresholdIntensityd", "keys": image, "threshold": upper, "above": False, "cval": upper},
        {"_target_": "ThresholdIntensityd", "keys": image, "threshold": lower, "above": True, "cval": lower},
        {
            "_target_": "NormalizeIntensityd",
            "keys": image,
            "subtrahend": [float(channel["mean"]) for channel in channels],
            "divisor": [float(channel["std"]) for channel in channels],
            "channel_wise": True,
        },
    ]

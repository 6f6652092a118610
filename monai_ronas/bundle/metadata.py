# SPDX-License-Identifier: Apache-2.0
"""``metadata.json`` of a derived bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

from monai_ronas import __version__
from monai_ronas.data import Fingerprint

REFERENCES = (
    "Bae, W., Lee, S., Lee, Y., Park, B., Chung, M. and Jung, K.-H., 2019. Resource Optimized Neural Architecture "
    "Search for 3D Medical Image Segmentation. MICCAI 2019, LNCS 11765. https://doi.org/10.1007/978-3-030-32245-8_26",
    "Cardoso, M.J. et al., 2022. MONAI: An open-source framework for deep learning in healthcare. arXiv:2211.02701.",
)
INTENDED_USE = (
    "Research on images like those that the network was trained on. It is no medical device and not to be used for "
    "diagnosis or treatment."
)


def metadata(
    fingerprint: Fingerprint,
    patch: Sequence[int],
    divisor: Sequence[int],
    *,
    licence: str,
    dice: float | None,
    reference: str,
) -> dict[str, Any]:
    """``metadata.json`` of the MONAI bundle specification.

    Args:
        fingerprint: of the data set.
        patch: training patch of the architecture; stated as the shape of input and output, though any multiple of
            ``divisor`` will do.
        divisor: multiple that the network needs, for each axis.
        licence: of the data; may be empty.
        dice: mean foreground Dice; None where it was not measured.
        reference: where ``dice`` was measured, in words.
    """
    labels = {str(value): plain(text) for value, text in sorted(fingerprint.labels.items())}
    modality = plain(", ".join(fingerprint.modality))
    foreground = ", ".join(text for value, text in labels.items() if value != "0")
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "derived and trained by a search"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {
            "monai-ronas": __version__,
            "nibabel": _version("nibabel"),
            "pytorch-ignite": _version("pytorch-ignite"),
            "SimpleITK": _version("SimpleITK"),
        },
        "supported_apps": {},
        "name": f"{plain(fingerprint.name)} segmentation",
        "task": f"Segmentation of {foreground}",
        "description": f"A network found by RONASMIS architecture search for {plain(fingerprint.name)} ({modality}).",
        "authors": "monai_ronas",
        "copyright": "the authors of the data set and of monai_ronas",
        "data_source": f"{plain(fingerprint.name)}, {fingerprint.num_cases} cases, licence: "
        + (plain(licence) or "not stated"),
        "data_type": "nibabel",
        "image_classes": f"{modality}, resampled to {list(fingerprint.target_spacing)} mm",
        "label_classes": f"single channel: {foreground}",
        "pred_classes": f"{fingerprint.out_channels} channels, background first",
        "eval_metrics": {"mean_dice": None if dice is None else round(dice, 4), "measured_on": reference},
        "intended_use": INTENDED_USE,
        "references": list(REFERENCES),
        "python_version": platform.python_version(),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude" if "CT" not in fingerprint.modality else "hounsfield",
                    "modality": modality,
                    "num_channels": fingerprint.in_channels,
                    "spatial_shape": list(patch),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "spatial_divisor": list(divisor),
                    "channel_def": {str(i): plain(text) for i, text in enumerate(fingerprint.modality)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": fingerprint.out_channels,
                    "spatial_shape": list(patch),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": labels,
                }
            },
        },
    }


def plain(text: str) -> str:
    """Text of others as one line of UTF-8: no expression, reference or macro to a configuration, no markup."""
    text = text.encode(errors="replace").decode()
    return " ".join(text.translate({ord(c): None for c in "$@%<>`|"}).split())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"

# SPDX-License-Identifier: Apache-2.0
"""The configuration files of a derived bundle, as plain dictionaries."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from monai_ronas.data import Fingerprint, preprocessing_config

LOGGING_CONF = """[loggers]
keys=root,ignite

[handlers]
keys=consoleHandler

[formatters]
keys=simpleFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[logger_ignite]
level=WARNING
handlers=
qualname=ignite

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=simpleFormatter
args=(sys.stdout,)

[formatter_simpleFormatter]
format=%(asctime)s %(levelname)s %(message)s
"""


def _common(network: Mapping[str, Any], divisor: Sequence[int]) -> dict[str, Any]:
    return {
        "imports": ["$import torch", "$import monai_ronas", "$import monai_ronas.bundle"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "amp": False,
        "network_def": {"_target_": "monai_ronas.networks.nets.RonasUNet", **network},
        "network": "$@network_def.to(@device, memory_format=torch.channels_last_3d)",
        "inferer": {
            "_target_": "monai_ronas.networks.PadToStrideInferer",
            "divisor": list(divisor),
            "amp": "@amp",
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
    }


def _invert(*, softmax: bool = True) -> list[dict[str, Any]]:
    activation = [{"_target_": "Activationsd", "keys": "pred", "softmax": True}] if softmax else []
    return [
        *activation,
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
    ]


def inference_config(network: Mapping[str, Any], divisor: Sequence[int], fingerprint: Fingerprint) -> dict[str, Any]:
    """``inference.json``: segment the volumes of a folder, in the geometry of each.

    Args:
        network: keyword arguments of ``RonasUNet``, plain types.
        divisor: multiple that the network needs, for each axis.
        fingerprint: of the data set; preprocessing follows from it.
    """
    return {
        **_common(network, divisor),
        "dataset_dir": "$@bundle_root + '/data'",
        "datalist": "$monai_ronas.bundle.one_sentence(monai_ronas.bundle.list_volumes, @dataset_dir)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": preprocessing_config(fingerprint, keys=["image"], track_meta=True),
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                *_invert(),
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "seg",
                    "output_dtype": "$torch.uint8",
                    "resample": False,
                    "separate_folder": False,
                },
            ],
        },
        "handlers": ["@checkpointloader"],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def evaluate_config(network: Mapping[str, Any], divisor: Sequence[int], fingerprint: Fingerprint) -> dict[str, Any]:
    """``evaluate.json``: Dice of each class, in the geometry of the labels, on cases that the search never saw.

    Args:
        network: keyword arguments of ``RonasUNet``, plain types.
        divisor: multiple that the network needs, for each axis.
        fingerprint: of the data set; preprocessing follows from it.
    """
    classes = fingerprint.out_channels
    return {
        **_common(network, divisor),
        "dataset_dir": "$@bundle_root + '/data'",
        "evaluation_use": "unseen",
        "datalist": "$monai_ronas.bundle.one_sentence(monai_ronas.bundle.evaluation_cases, @dataset_dir, "
        "@bundle_root + '/docs/data_split.json', @evaluation_use)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "label", "image_only": True, "ensure_channel_first": True},
                *preprocessing_config(fingerprint, keys=["image"], track_meta=True),
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                *_invert(),
                {
                    "_target_": "AsDiscreted",
                    "keys": ["pred", "label"],
                    "argmax": [True, False],
                    "to_onehot": classes,
                },
            ],
        },
        "key_metric": {
            "mean_dice": {
                "_target_": "MeanDice",
                "include_background": False,
                "num_classes": classes,
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
            }
        },
        "handlers": [
            "@checkpointloader",
            {"_target_": "StatsHandler", "iteration_log": False, "name": "evaluate"},
            {
                "_target_": "MetricsSaver",
                "save_dir": "@output_dir",
                "metrics": ["mean_dice"],
                "metric_details": ["mean_dice"],
                "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
                "summary_ops": ["mean", "std", "min", "max"],
                "delimiter": ",",
            },
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "key_val_metric": "@key_metric",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def metadata(
    fingerprint: Fingerprint, patch: Sequence[int], divisor: Sequence[int], *, name: str, dice: float, reference: str
) -> dict[str, Any]:
    """``metadata.json`` of the MONAI bundle specification.

    Args:
        fingerprint: of the data set.
        patch: training patch of the architecture.
        divisor: multiple that the network needs, for each axis.
        name: name of the bundle.
        dice: mean foreground Dice on the reward cases.
        reference: where ``dice`` was measured, in words.
    """
    labels = {str(value): plain(text) for value, text in sorted(fingerprint.labels.items())}
    modality = plain(", ".join(fingerprint.modality))
    foreground = ", ".join(text for value, text in labels.items() if value != "0")
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "derived by a search, trained on its shared weights"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {
            "monai-ronas": _version("monai-ronas"),
            "nibabel": _version("nibabel"),
            "pytorch-ignite": _version("pytorch-ignite"),
        },
        "supported_apps": {},
        "name": name,
        "task": f"Segmentation of {foreground}",
        "description": f"A network found by RONASMIS architecture search for {plain(fingerprint.name)} ({modality}).",
        "authors": "monai_ronas",
        "copyright": "the authors of the data set and of monai_ronas",
        "data_source": plain(fingerprint.name),
        "data_type": "nibabel",
        "image_classes": f"{modality}, resampled to {list(fingerprint.target_spacing)} mm",
        "label_classes": f"single channel: {foreground}",
        "pred_classes": f"{fingerprint.out_channels} channels, background first",
        "eval_metrics": {"mean_dice": round(dice, 4), "measured_on": reference},
        "references": [
            "Bae et al., Resource Optimized Neural Architecture Search for 3D Medical Image Segmentation, MICCAI 2019"
        ],
        "python_version": platform.python_version(),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude" if "CT" not in fingerprint.modality else "hounsfield",
                    "modality": modality,
                    "num_channels": fingerprint.in_channels,
                    "spatial_shape": [f"{d}*n" for d in divisor],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "training_patch": list(patch),
                    "channel_def": {str(i): plain(text) for i, text in enumerate(fingerprint.modality)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": fingerprint.out_channels,
                    "spatial_shape": [f"{d}*n" for d in divisor],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": labels,
                }
            },
        },
    }


def plain(text: str) -> str:
    """Text of a data set as text: a configuration must not take it for an expression, a reference or a macro."""
    return text.translate({ord(c): None for c in "$@%"}).strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"

# SPDX-License-Identifier: Apache-2.0
"""The configuration files of a derived bundle, as plain dictionaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_ronas.bundle.metadata import plain
from monai_ronas.bundle.predictions import label_dtype
from monai_ronas.data import Fingerprint, loading_config, preprocessing_config
from monai_ronas.data.segment_codes import Codes, segments_of

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


_LARGEST_PREDICTION = 2 * 2**30  # bytes
HALF_OF_MEMORY = "$monai_ronas.utils.available_memory_bytes() / 2**31"  # GiB


@dataclass(frozen=True)
class Derived:
    """What the configurations say of a derived network.

    Args:
        network: keyword arguments of ``RonasUNet``, plain types.
        divisor: multiple that the network needs, for each axis.
        patch: training patch of the architecture; the window where a volume is too large for one shot.
        one_shot_voxels: voxels of the largest volume for one shot; 0: always windows.
        fingerprint: of the data set; preprocessing follows from it.
        batch_size: crops in a batch of the search.
        amp: the search was trained in bfloat16.
        flip_axes: spatial axes along which crops are flipped in training.
        test_time_flips: predictions are averaged over flips along these axes, and over ``transposed_axes``.
        transposed_axes: two spatial axes that change places in the crops, for crops of thick slices.
        result_gb: memory in GiB for predictions and sums; None for half of what is available where it runs.
        codes: what labels are, by value, as :func:`~monai_ronas.data.segment_codes.read_codes` gives it.
        temperature: of the probabilities; 1 where it was not fitted.
    """

    network: Mapping[str, Any]
    divisor: Sequence[int]
    patch: Sequence[int]
    one_shot_voxels: int
    fingerprint: Fingerprint
    batch_size: int
    amp: bool
    flip_axes: Sequence[int]
    test_time_flips: bool
    transposed_axes: Sequence[int] | None = None
    result_gb: float | None = None
    codes: Mapping[int, Codes] = field(default_factory=dict)
    temperature: float = 1.0

    @property
    def stitch_device(self) -> str | None:
        """``"cpu"`` where the prediction of the largest volume takes gigabytes."""
        size = 4 * self.fingerprint.out_channels * math.prod(map(max, self.fingerprint.max_shape, self.patch))
        return "cpu" if size > _LARGEST_PREDICTION else None


def common(derived: Derived) -> dict[str, Any]:
    """What the configurations share: folders, device, network, inferer."""
    return {
        "imports": ["$import torch", "$import monai_ronas", "$import monai_ronas.bundle"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "amp": False,
        "network_def": {"_target_": "monai_ronas.networks.nets.RonasUNet", **derived.network},
        "network": "$@network_def.to(@device, memory_format=torch.channels_last_3d)",
        "inferer": {
            "_target_": "monai_ronas.networks.PadToStrideInferer",
            "divisor": list(derived.divisor),
            "amp": "$monai.utils.str2bool(@amp)",
            "max_voxels": derived.one_shot_voxels,
            "roi_size": list(derived.patch),
            "flips": list(derived.flip_axes) if derived.test_time_flips else [],
            "transposed_axes": list(derived.transposed_axes or []) or None if derived.test_time_flips else None,
            "stitch_device": derived.stitch_device,
            "result_gb": HALF_OF_MEMORY if derived.result_gb is None else derived.result_gb,
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        },
    }


def mean_dice(name: str, classes: int, *, of_crops: bool = False) -> dict[str, Any]:
    """The key metric of an engine: mean foreground Dice, of cases or of crops, in which foreground may be lacking."""
    output = "$monai.handlers.from_engine(['pred', 'label'])"
    if of_crops:
        kind: dict[str, Any] = {"_target_": "MeanDice", "include_background": False}
    else:
        kind = {"_target_": "monai_ronas.bundle.LabelledDice"}
    return {name: {**kind, "num_classes": classes, "output_transform": output}}


def discrete(fingerprint: Fingerprint) -> list[Any]:
    """Prediction and label as one-hot channels, on the prediction's device; ignored voxels are background in both."""
    return [
        *_without_ignored(fingerprint),
        "$lambda item: {**item, 'label': item['label'].to(item['pred'].device)}",
        {"_target_": "monai_ronas.networks.MostLikelyd", "keys": "pred"},
        {"_target_": "AsDiscreted", "keys": ["pred", "label"], "to_onehot": fingerprint.out_channels},
    ]


def _without_ignored(fingerprint: Fingerprint) -> list[dict[str, Any]]:
    if fingerprint.ignore_label is None:
        return []
    return [{"_target_": "monai_ronas.metrics.IgnoredToBackgroundd", "num_classes": fingerprint.out_channels}]


COMMAND = "$monai_ronas.bundle.begin_command()"
_RUN = [
    "$monai_ronas.bundle.require_weights(@bundle_root + '/models/model.pt')",
    "$@dataset.begin()",
    "$@evaluator.run()",
    "$@dataset.end()",
]


_TO_CLASSES = {
    "_target_": "monai_ronas.bundle.InvertToClassesd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
}


def _declared_values(fingerprint: Fingerprint) -> list[dict[str, Any]]:
    """The declared values in place of the classes' indices, where they differ."""
    classes, values = list(range(fingerprint.out_channels)), list(fingerprint.labels)
    if values == classes:
        return []
    return [{"_target_": "MapLabelValued", "keys": "pred", "orig_labels": classes, "target_labels": values}]


def _segments(derived: Derived) -> list[dict[str, Any]]:
    """The segments of DICOM SEG, with all text as plain text."""
    codes = {
        value: {key: {part: plain(text) for part, text in code.items()} for key, code in given.items()}
        for value, given in derived.codes.items()
    }
    return segments_of({value: plain(name) for value, name in derived.fingerprint.labels.items()}, codes)


def inference_config(derived: Derived) -> dict[str, Any]:
    """``inference.json``: segment the volumes of a folder, in the geometry of each."""
    labels = {str(value): plain(name) for value, name in sorted(derived.fingerprint.labels.items())}
    return {
        **common(derived),
        "dataset_dir": "$@bundle_root + '/data'",
        "output_ext": None,
        "dicom_seg": {
            "_target_": "monai_ronas.data.DicomSegWriter",
            "segments": _segments(derived),
            "bundle_root": "@bundle_root",
        },
        "predictions": {
            "_target_": "monai_ronas.bundle.PredictionFiles",
            "root": "@dataset_dir",
            "output_dir": "@output_dir",
            "output_ext": "@output_ext",
            "dicom_seg": "@dicom_seg",
            "channels": "@network_def#in_channels",
        },
        "datalist": "$monai_ronas.bundle.list_volumes(@dataset_dir, @predictions, channels=@network_def#in_channels)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": preprocessing_config(derived.fingerprint, keys=["image"], track_meta=True),
        },
        "dataset": {
            "_target_": "monai_ronas.bundle.SoundVolumes",
            "data": "$monai_ronas.bundle.CaseList([{'image': i} for i in @datalist], "
            "getattr(@datalist, 'left_out', ()))",
            "transform": "@preprocessing",
            "predictions": "@predictions",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                _TO_CLASSES,
                {"_target_": "monai_ronas.bundle.WarnOfEmptyd", "keys": "pred"},
                *_declared_values(derived.fingerprint),
                {
                    "_target_": "monai_ronas.bundle.SavePredictiond",
                    "keys": "pred",
                    "files": "@predictions",
                    "output_dtype": label_dtype(max(derived.fingerprint.labels) + 1),
                },
            ],
        },
        "uncertainty": False,
        "temperature": round(derived.temperature, 4),
        "unsure": {
            "_target_": "monai_ronas.bundle.Uncertainty",
            "wanted": "@uncertainty",
            "temperature": "@temperature",
            "inferer": "@inferer",
            "models": "$@bundle_root + '/models'",
            "files": "@predictions",
            "labels": labels,
            "transform": "@preprocessing",
        },
        "handlers": ["@checkpointloader"],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "$@unsure.inferer",
            "postprocessing": "$@unsure.postprocessing(@postprocessing)",
            "val_handlers": "@handlers",
        },
        "initialize": [COMMAND],
        "run": [*_RUN[:-1], "$@unsure.end(@dataset.left_out)", _RUN[-1]],
    }


def evaluate_config(derived: Derived) -> dict[str, Any]:
    """``evaluate.json``: Dice of each class, in the geometry of the images, on cases that the search never saw."""
    classes = derived.fingerprint.out_channels
    return {
        **common(derived),
        "dataset_dir": "$@bundle_root + '/data'",
        "evaluation_use": "unseen",
        "datalist": "$monai_ronas.bundle.evaluation_cases(@dataset_dir, "
        "@bundle_root + '/docs/data_split.json', @evaluation_use)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                *loading_config(derived.fingerprint),
                *preprocessing_config(derived.fingerprint, keys=["image"], track_meta=True, load=False),
            ],
        },
        "dataset": {
            "_target_": "monai_ronas.bundle.SoundVolumes",
            "data": "@datalist",
            "transform": "@preprocessing",
            "what": "evaluated",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                _TO_CLASSES,
                *_without_ignored(derived.fingerprint),
                "$lambda item: {**item, 'label': item['label'].to(item['pred'].device)}",
            ],
        },
        "key_metric": mean_dice("mean_dice", classes),
        "handlers": [
            "@checkpointloader",
            {"_target_": "StatsHandler", "iteration_log": False, "name": "evaluate"},
            {
                "_target_": "MetricsSaver",
                "save_dir": "@output_dir",
                "metrics": ["mean_dice"],
                "metric_details": ["mean_dice"],
                "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
                "summary_ops": ["mean", "std", "min", "max", "notnans"],
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
        "initialize": [COMMAND],
        "run": _RUN,
    }

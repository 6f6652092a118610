# SPDX-License-Identifier: Apache-2.0
"""The configuration with which a derived bundle segments volumes."""

from __future__ import annotations

from typing import Any

from monai_ronas.bundle.configs import COMMAND, RUN, TO_CLASSES, Derived, common
from monai_ronas.bundle.metadata import plain
from monai_ronas.bundle.predictions import label_dtype
from monai_ronas.data import Fingerprint, preprocessing_config
from monai_ronas.data.segment_codes import segments_of


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
                TO_CLASSES,
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
        "run": [*RUN[:-1], "$@unsure.end(@dataset.left_out)", RUN[-1]],
    }

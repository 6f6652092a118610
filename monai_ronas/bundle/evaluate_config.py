# SPDX-License-Identifier: Apache-2.0
"""The configuration with which a derived bundle is evaluated."""

from __future__ import annotations

from typing import Any

from monai_ronas.bundle.configs import COMMAND, RUN, TO_CLASSES, Derived, common, mean_dice, without_ignored
from monai_ronas.data import loading_config, preprocessing_config


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
                TO_CLASSES,
                *without_ignored(derived.fingerprint),
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
        "run": RUN,
    }

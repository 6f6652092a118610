# SPDX-License-Identifier: Apache-2.0
"""The configuration with which a derived bundle is trained on."""

from __future__ import annotations

from typing import Any

from monai_ronas.bundle.configs import COMMAND, Derived, common, discrete, mean_dice
from monai_ronas.data import preprocessing_config

_REQUIRE = "$monai_ronas.bundle.require_weights(@ckpt_dir + '/model.pt')"
_SCRIPT = "$monai_ronas.bundle.renew_torchscript(@bundle_root, @network_def)"
_TELL = "$monai_ronas.bundle.tell_left_out(@train#dataset#data)"  # MONAI Label gives a list of its own there


def train_config(derived: Derived) -> dict[str, Any]:
    """``train.json``: train on from ``model.pt``, with the search's patch, loss and preprocessing.

    The weights that the bundle has are validated before the first epoch, so that only better ones replace them. Where
    there are no validation cases, as in MONAI Label with one or two labels, the training cases judge.
    """
    fingerprint, patch = derived.fingerprint, derived.patch
    classes = fingerprint.out_channels
    keys = ["image", "label"]
    loss: dict[str, Any] = {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True, "batch": True}
    foreground: list[str] = []
    if fingerprint.ignore_label is not None:
        loss = {
            "_target_": "monai_ronas.losses.AreaDeepSupervisionLoss",
            "loss": {"_target_": "DiceCELoss", "softmax": True, "batch": True},
            "ignore": True,
        }
        foreground = [f"$lambda item: {{**item, 'foreground': item['label'] * (item['label'] < {classes})}}"]
    cropped = [*keys, "foreground"] if foreground else keys
    crops: list[Any] = [
        {"_target_": "SpatialPadd", "keys": keys, "spatial_size": list(patch)},
        *foreground,
        {
            "_target_": "RandCropByPosNegLabeld",
            "keys": cropped,
            "label_key": cropped[-1],
            "spatial_size": list(patch),
            "pos": 1,
            "neg": 2,
            "num_samples": 1,
        },
        *(
            {"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": axis, "lazy": False}
            for axis in derived.flip_axes
        ),
    ]
    deterministic = preprocessing_config(fingerprint, keys=keys, track_meta=False)
    shared = common(derived)
    inferer = {**shared.pop("inferer"), "flips": [], "transposed_axes": None}
    postprocessing = {"_target_": "Compose", "transforms": discrete(fingerprint)}
    loader = {**shared.pop("checkpointloader"), "load_path": "$@ckpt_dir + '/model.pt'"}
    return {
        **shared,
        "ckpt_dir": "$@bundle_root + '/models'",
        "dataset_dir": "$@bundle_root + '/data'",
        "epochs": 10,
        "learning_rate": 1e-4,
        "batch_size": derived.batch_size,
        "amp": "$monai_ronas.utils.has_fast_half(@device)" if derived.amp else False,
        "val_interval": 1,
        "datalist": "$monai_ronas.bundle.training_cases(@dataset_dir, @bundle_root + '/docs/data_split.json')",
        "loss": loss,
        "optimizer": {
            "_target_": "torch.optim.AdamW",
            "params": "$@network.parameters()",
            "lr": "@learning_rate",
        },
        "lr_scheduler": {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "optimizer": "@optimizer",
            "T_max": "@train#trainer#max_epochs",
        },
        "train": {
            "preprocessing": {"_target_": "Compose", "transforms": [*deterministic, *crops]},
            "dataset": {
                "_target_": "CacheDataset",
                "data": "$@datalist['train']",
                "transform": "@train#preprocessing",
                "progress": False,
            },
            "dataloader": {
                "_target_": "DataLoader",
                "dataset": "@train#dataset",
                "batch_size": "@batch_size",
                "shuffle": True,
                "num_workers": 0,
            },
            "inferer": {
                **inferer,
                "max_voxels": None,
                "roi_size": None,
                "stitch_device": None,
            },  # crops of any size, as they are
            "postprocessing": postprocessing,
            "key_metric": mean_dice("train_mean_dice", classes, of_crops=True),
            "handlers": [
                loader,
                {"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "print_lr": False},
                {
                    "_target_": "ValidationHandler",
                    "validator": "@validate#evaluator",
                    "epoch_level": True,
                    "interval": "@val_interval",
                    "exec_at_start": True,
                },
                {
                    "_target_": "StatsHandler",
                    "tag_name": "train_loss",
                    "output_transform": "$monai.handlers.from_engine(['loss'], first=True)",
                },
            ],
            "trainer": {
                "_target_": "SupervisedTrainer",
                "max_epochs": "@epochs",
                "device": "@device",
                "amp": "$monai_ronas.utils.needs_loss_scaling(@device, amp=monai.utils.str2bool(@amp))",
                "train_data_loader": "@train#dataloader",
                "network": "@network",
                "loss_function": "@loss",
                "optimizer": "@optimizer",
                "inferer": "@train#inferer",
                "postprocessing": "@train#postprocessing",
                "key_train_metric": "@train#key_metric",
                "train_handlers": "@train#handlers",
            },
        },
        "validate": {
            "preprocessing": {"_target_": "Compose", "transforms": deterministic},
            "dataset": {
                "_target_": "monai_ronas.bundle.validation_dataset",
                "data": "$@datalist['validate']",
                "otherwise": "@train#dataset#data",  # MONAI Label gives no validation cases where there are few labels
                "transform": "@validate#preprocessing",
            },
            "dataloader": {
                "_target_": "DataLoader",
                "dataset": "@validate#dataset",
                "batch_size": 1,
                "shuffle": False,
                "num_workers": 0,
            },
            "inferer": inferer,
            "postprocessing": postprocessing,
            "key_metric": mean_dice("val_mean_dice", classes),
            "handlers": [
                {"_target_": "StatsHandler", "iteration_log": False},
                {
                    "_target_": "monai_ronas.bundle.BestWeights",
                    "network": "@network",
                    "path": "$@ckpt_dir + '/model.pt'",
                },
            ],
            "evaluator": {
                "_target_": "SupervisedEvaluator",
                "device": "@device",
                "val_data_loader": "@validate#dataloader",
                "network": "@network",
                "inferer": "@validate#inferer",
                "postprocessing": "@validate#postprocessing",
                "key_val_metric": "@validate#key_metric",
                "val_handlers": "@validate#handlers",
            },
        },
        "initialize": [COMMAND, "$monai.utils.set_determinism(seed=0)"],
        "run": [_REQUIRE, "$@train#trainer.run()", _SCRIPT, _TELL],
        "finalize": ["$monai.utils.set_determinism(None)"],
    }


def multi_gpu_train_config() -> dict[str, Any]:
    """``multi_gpu_train.json``: an overlay of ``train.json`` for ``torchrun``, NCCL on GPUs and gloo on CPUs."""
    sampler = {"_target_": "DistributedSampler", "even_divisible": True, "shuffle": True}
    return {
        "imports": [
            "$import os",
            "$import torch",
            "$import monai_ronas",
            "$import monai_ronas.bundle",
        ],
        "device": "$torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0))) if torch.cuda.is_available() "
        "else torch.device('cpu')",
        "network": {
            "_target_": "torch.nn.parallel.DistributedDataParallel",
            "module": "$@network_def.to(@device, memory_format=torch.channels_last_3d)",
            "device_ids": "$[@device] if @device.type == 'cuda' else None",
        },
        "train#sampler": {**sampler, "dataset": "@train#dataset"},
        "train#dataloader#sampler": "@train#sampler",
        "train#dataloader#shuffle": False,
        "train#trainer#train_handlers": "$@train#handlers[: None if monai_ronas.utils.is_main() else -1]",
        "validate#sampler": {**sampler, "dataset": "@validate#dataset", "even_divisible": False, "shuffle": False},
        "validate#dataloader#sampler": "@validate#sampler",
        "validate#evaluator#val_handlers": "$@validate#handlers if monai_ronas.utils.is_main() else None",
        "initialize": [
            COMMAND,
            "$monai_ronas.utils.join_ranks(@device)",
            "$monai.utils.set_determinism(seed=0)",
        ],
        "run": [_REQUIRE, "$@train#sampler.set_epoch(0)", "$@train#trainer.run()", _SCRIPT, _TELL],
        "finalize": ["$monai_ronas.utils.leave_to_main()", "$monai.utils.set_determinism(None)"],
    }

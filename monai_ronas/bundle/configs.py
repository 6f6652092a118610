# SPDX-License-Identifier: Apache-2.0
"""What the configurations of a derived bundle share, as plain dictionaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_ronas.data import Fingerprint
from monai_ronas.data.segment_codes import Codes

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
COMMAND = "$monai_ronas.bundle.begin_command()"
RUN = [
    "$monai_ronas.bundle.require_weights(@bundle_root + '/models/model.pt')",
    "$@dataset.begin()",
    "$@evaluator.run()",
    "$@dataset.end()",
]
TO_CLASSES = {
    "_target_": "monai_ronas.bundle.InvertToClassesd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
}


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
        *without_ignored(fingerprint),
        "$lambda item: {**item, 'label': item['label'].to(item['pred'].device)}",
        {"_target_": "monai_ronas.networks.MostLikelyd", "keys": "pred"},
        {"_target_": "AsDiscreted", "keys": ["pred", "label"], "to_onehot": fingerprint.out_channels},
    ]


def without_ignored(fingerprint: Fingerprint) -> list[dict[str, Any]]:
    """Labels that are ignored become background, where there are any."""
    if fingerprint.ignore_label is None:
        return []
    return [{"_target_": "monai_ronas.metrics.IgnoredToBackgroundd", "num_classes": fingerprint.out_channels}]

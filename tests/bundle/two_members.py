# SPDX-License-Identifier: Apache-2.0
"""A small bundle with two members, and its ``inference.json``."""

from dataclasses import replace

import torch

from monai_ronas.bundle.configs import Derived
from monai_ronas.networks.nets import RonasUNet
from tests.bundle.inference import run_inference
from tests.bundle.small_volumes import FINGERPRINT

NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": (2, 3),
    "strides": (1, 2),
    "dilations": (1, 1),
    "deep_supervision": False,
}
LABELS = {0: "background", 2: "front, left", 5: "back"}


def weights(seed):
    torch.manual_seed(seed)
    network = RonasUNet(**NETWORK)
    network.heads[0].bias.data = torch.tensor([0.5, 0.0, 0.2])
    return network.state_dict()


def segment(root, folder, out, *, temperature=1.0, **changes):
    """Run ``inference.json``; returns the sentence at the end, if there is one."""
    facts = {"fingerprint": replace(FINGERPRINT, labels=LABELS), "temperature": temperature}
    options = {"batch_size": 1, "amp": False, "flip_axes": (0,), "test_time_flips": True}
    derived = Derived(NETWORK, (2, 2, 2), (4, 4, 4), 10**6, **facts, **options)
    return run_inference(derived, root, dataset_dir=str(folder), output_dir=str(out), **changes)

# SPDX-License-Identifier: Apache-2.0
"""Scores by which the next study may be chosen: how unsure a network is of it, in one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from scipy.ndimage import binary_dilation

from monai_ronas.bundle import foreground_entropy
from monai_ronas.bundle.uncertainty import class_figures
from monai_ronas.networks import MemberInferer, PadToStrideInferer, entropy

_AROUND = 2  # voxels around the predicted foreground


def with_border(logits: torch.Tensor) -> torch.Tensor:
    """The voxels of the predicted foreground and two around it, ``(H, W, D)``, for logits ``(C, H, W, D)``."""
    return torch.from_numpy(binary_dilation((logits.argmax(dim=0) > 0).numpy(), iterations=_AROUND))


def border_entropy(logits: torch.Tensor, information: torch.Tensor) -> float:
    """Mean entropy over the predicted foreground and its border, from 0 to 1; 1 where nothing is predicted."""
    near = with_border(logits)
    return float(entropy(logits[None])[0, 0][near].mean()) / math.log(len(logits)) if near.any() else 1.0


def border_information(logits: torch.Tensor, information: torch.Tensor) -> float:
    """Mean mutual information of the flips over the same voxels; as much as there may be where nothing is predicted."""
    near = with_border(logits)
    return float(information[0][near].mean()) if near.any() else math.log(len(logits))


def expected_loss(logits: torch.Tensor, information: torch.Tensor) -> float:
    """One minus the predicted Dice, mean over the classes; 1 for a class that is not predicted."""
    found = logits.argmax(dim=0)
    figures = [class_figures(p, found == c) for c, p in enumerate(logits.softmax(dim=0)) if c]
    return 1 - float(np.mean([figure.dice for figure in figures]))


SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "foreground_entropy": lambda logits, information: foreground_entropy(logits),
    "border_entropy": border_entropy,
    "border_information": border_information,
    "expected_loss": expected_loss,
}


class Watch(Inferer):
    """The bundle's inferer, which notes the scores of each volume."""

    def __init__(self, inferer: PadToStrideInferer) -> None:
        super().__init__()
        self.inferer = MemberInferer(inferer)
        self.rows: list[dict[str, float]] = []

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The logarithm of the mean probabilities."""
        said = self.inferer(inputs, network, *args, **kwargs)
        logits, information = (
            convert_to_tensor(t, track_meta=False)[0].cpu() for t in (said, self.inferer.mutual_information)
        )
        self.rows.append({name: score(logits, information) for name, score in SCORES.items()})
        return said

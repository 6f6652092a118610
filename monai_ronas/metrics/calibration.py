# SPDX-License-Identifier: Apache-2.0
"""Whether probabilities hold what they say: a temperature that mends them, and the errors before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from monai_ronas.utils import Reliability

_MARGIN = 2  # voxels around the foreground
_LARGEST = 10.0  # temperature, its smallest is the inverse
_TINY = 1e-12  # probability; no voxel costs more than its logarithm


def near_foreground(label: torch.Tensor, classes: torch.Tensor, *, num_classes: int) -> torch.Tensor:
    """The voxels that calibration is measured on: foreground of label or prediction, and up to two voxels around it.

    Elsewhere nearly all voxels are background without a doubt, which would hide every error near the borders.

    Args:
        label: class indices ``(1, H, W[, D])``; voxels with ``num_classes`` or more are to be ignored.
        classes: class indices of the prediction, likewise.
        num_classes: number of classes.

    Returns:
        boolean ``(1, H, W[, D])``.

    Example:
        >>> label = torch.tensor([[0, 0, 0, 0, 1, 0, 0, 0, 3]])[:, None]
        >>> near_foreground(label, torch.zeros_like(label), num_classes=2).int()
        tensor([[[0, 0, 1, 1, 1, 1, 1, 0, 0]]], dtype=torch.int32)
    """
    known = label < num_classes
    found = ((label > 0) & known | (classes > 0)).float()[None]
    dims = found.dim() - 2
    pool = F.max_pool3d if dims == 3 else F.max_pool2d
    for axis in range(dims):  # one after the other gives the same as a cube, in much less time
        margin = [_MARGIN * (axis == other) for other in range(dims)]
        found = pool(found, [2 * m + 1 for m in margin], stride=1, padding=margin)
    return (found[0] > 0) & known


def sampled(logits: torch.Tensor, label: torch.Tensor, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The voxels near the foreground, or so many of them, evenly spread.

    Args:
        logits: ``(C, H, W[, D])``, or logarithms of probabilities.
        label: class indices ``(1, H, W[, D])``.
        most: voxels at most.

    Returns:
        logarithms of probabilities ``(N, C)`` in double precision, and class indices ``(N,)``, without the voxels whose
        logits are no numbers.
    """
    found = near_foreground(label, logits.argmax(0, keepdim=True), num_classes=len(logits))[0]
    places = found.flatten().nonzero()[:, 0]
    places = places[:: max(1, math.ceil(len(places) / most))]
    said = logits.flatten(1)[:, places].T.double().log_softmax(dim=1)
    known = ~said.isnan().any(dim=1)  # the logarithm of a probability of 0 is known
    said = said[known].clamp(min=math.log(_TINY))
    return said.cpu().numpy(), label.flatten()[places[known]].long().cpu().numpy()


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Logarithms of probabilities ``(N, C)`` divided by a temperature and made probabilities again, as logarithms.

    Example:
        >>> tempered(np.log([[0.8, 0.2]]), 2.0).round(3)
        array([[-0.405, -1.099]])
    """
    return np.asarray(torch.from_numpy(log_probabilities / temperature).log_softmax(dim=1))


def fit_temperature(log_probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The temperature for which the labels are most likely (Guo et al., ICML 2017), every case counting the same.

    The negative log likelihood is convex in the inverse of the temperature, so that the minimum is the only one.

    Args:
        log_probabilities: for each case ``(N, C)``.
        labels: for each case the class indices ``(N,)``.

    Returns:
        a number from 0.1 to 10: above 1 for a network that is too sure; 1 where there is no voxel.

    Example:
        >>> said = np.log([[0.99, 0.01]] * 4)
        >>> round(fit_temperature([said], [np.array([0, 0, 0, 1])]), 2)
        4.18
    """
    from scipy.optimize import minimize_scalar  # here, as it takes a while

    cases = [(x, y) for x, y in zip(log_probabilities, labels, strict=True) if len(y)]
    if not cases:
        return 1.0

    def loss(inverse: float) -> float:
        return float(np.mean([-tempered(x, 1 / inverse)[np.arange(len(y)), y].mean() for x, y in cases]))

    found = minimize_scalar(loss, bounds=(1 / _LARGEST, _LARGEST), method="bounded", options={"xatol": 1e-4})
    return float(1 / found.x)


def reliability(
    log_probabilities: Sequence[np.ndarray], labels: Sequence[np.ndarray], *, temperature: float = 1.0, bins: int = 15
) -> Reliability:
    """Sure and right, bin by bin, of all voxels together.

    Args:
        log_probabilities: for each case ``(N, C)``.
        labels: for each case the class indices ``(N,)``.
        temperature: divides the logarithms.
        bins: number of bins from 0 to 1.

    Example:
        >>> found = reliability([np.log([[0.75, 0.25]] * 4)], [np.array([0, 0, 1, 1])])
        >>> round(found.expected_error, 4), round(found.brier, 4)
        (0.25, 0.625)
    """
    count, sure, right, square = np.zeros(bins, dtype=int), np.zeros(bins), np.zeros(bins), 0.0
    for x, y in zip(log_probabilities, labels, strict=True):
        p = np.exp(tempered(x, temperature))
        largest = p.max(axis=1)
        place = np.minimum((largest * bins).astype(int), bins - 1)
        count += np.bincount(place, minlength=bins)
        sure += np.bincount(place, weights=largest, minlength=bins)
        right += np.bincount(place, weights=p.argmax(axis=1) == y, minlength=bins)
        square += float((p**2).sum() + (1 - 2 * p[np.arange(len(y)), y]).sum())
    with np.errstate(invalid="ignore"):
        means = sure / count, right / count
    brier = square / max(int(count.sum()), 1)
    return Reliability(tuple(count.tolist()), tuple(means[0].tolist()), tuple(means[1].tolist()), brier)

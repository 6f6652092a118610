# SPDX-License-Identifier: Apache-2.0
"""One synthetic volume of the phantom data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

LABELS = ("background", "organ", "lesion", "vessel")
"""Names of the label values 0..3."""

_BODY, _ORGAN, _LESION, _VESSEL = 0.46, 0.64, 0.55, 0.74  # mean intensities, 1 = 1000 in the file


def make_phantom_case(rng: np.random.Generator, *, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a body with a bent organ, a lesion inside it, a thin vessel, and look-alikes that are background.

    Intensity alone does not tell the targets: round bodies look like the organ, spots outside the organ like the
    lesion, and tubes that run across the body like the vessel, which runs along it. Pose, size and shape vary by
    case; the image has blurred edges, a multiplicative bias field and Rician noise.

    Args:
        rng: source of all randomness.
        size: mean size in voxels ``(X, Y, Z)``; the case varies by up to 3 voxels per axis.

    Returns:
        The image, int16 ``(X, Y, Z)``, and the label, uint8 of the same shape.
    """
    shape = tuple(int(n + rng.integers(-3, 4)) for n in size)
    p = _coordinates(rng, shape)
    body = (np.abs(p) / np.array([0.92, 0.88, 1.7])[:, None, None, None]) ** 4
    inside = body.sum(axis=0) < 1

    image = np.where(inside, _BODY, 0.03)
    for _ in range(3):  # round bodies
        ball = _ellipsoid(p, _place(rng), rng.uniform(0.2, 0.32, 3)) < 1
        image[ball & inside] = _ORGAN
    for _ in range(5):  # spots
        spot = _ellipsoid(p, _place(rng), rng.uniform(0.14, 0.22, 3)) < 1
        image[spot & inside] = _LESION
    for _ in range(3):  # tubes across the body
        tube = _tube(rng, p, along=int(rng.integers(0, 2)), centre=rng.uniform(-0.6, 0.6, 2)) < 1
        image[tube & inside] = _VESSEL

    centre = np.array([0.15, 0.1, 0.0]) + rng.uniform(-0.12, 0.12, 3)
    bent = p.copy()
    bent[1] += rng.uniform(0.6, 1.1) * (p[0] - centre[0]) ** 2 - 0.08
    radii = np.array([0.58, 0.3, 0.62]) * rng.uniform(0.85, 1.12, 3)
    distance = _ellipsoid(bent, centre, radii)
    organ = inside & (distance < 1)
    image[inside & (distance < 1.5)] = _BODY  # a rim, so that its border can be seen
    image[organ] = _ORGAN

    offset = rng.normal(size=3)
    offset *= rng.uniform(0.1, 0.5) / np.linalg.norm(offset)
    lesion = organ & (_ellipsoid(bent, centre + offset * radii, rng.uniform(0.18, 0.27, 3) * [1, 0.9, 1.3]) < 1)
    image[lesion] = _LESION

    distance = _tube(rng, p, along=2, centre=np.array([-0.42, -0.3]) + rng.uniform(-0.15, 0.15, 2))
    vessel = inside & (distance < 1)
    image[inside & ~organ & (distance < 2.5)] = _BODY
    image[vessel] = _VESSEL

    label = np.zeros(shape, dtype=np.uint8)
    for value, mask in enumerate((organ, lesion, vessel), start=1):
        label[mask] = value
    return _acquire(rng, image), label


def _smooth(rng: np.random.Generator, channels: int, shape: Sequence[int], *, nodes: int) -> np.ndarray:
    """Smooth standard normal fields ``(channels, X, Y, Z)``, interpolated between ``nodes`` values per axis."""
    coarse = torch.from_numpy(rng.standard_normal((1, channels, nodes, nodes, nodes)))
    return F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0].numpy()


def _coordinates(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Body coordinates in about -1..1 of every voxel, ``(3, X, Y, Z)``: a random pose and a smooth deformation."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    rotation = np.eye(3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle = np.deg2rad(rng.uniform(-12, 12))
        turn = np.eye(3)
        turn[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        rotation = rotation @ turn
    posed = np.einsum("ij,jxyz->ixyz", rotation / rng.uniform(0.92, 1.08), grid)
    return posed + rng.uniform(-0.06, 0.06, (3, 1, 1, 1)) + 0.06 * _smooth(rng, 3, shape, nodes=5)


def _place(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform([-0.7, -0.7, -0.9], [0.7, 0.7, 0.9])


def _ellipsoid(p: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Squared distance from the centre in radii, ``(X, Y, Z)``."""
    return (((p - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0)


def _tube(rng: np.random.Generator, p: np.ndarray, *, along: int, centre: np.ndarray) -> np.ndarray:
    """Squared distance, in radii, from a wavy line along an axis through ``centre`` of the other two axes."""
    first, second = (axis for axis in range(3) if axis != along)
    phase = rng.uniform(0, 2 * np.pi)
    wave = 0.14 * np.sin(2.5 * p[along] + phase), 0.14 * np.cos(2.5 * p[along] + phase)
    distance = (p[first] - centre[0] - wave[0]) ** 2 + (p[second] - centre[1] - wave[1]) ** 2
    return np.where(np.abs(p[along]) < 0.85, distance / rng.uniform(0.11, 0.14) ** 2, np.inf)


def _acquire(rng: np.random.Generator, tissue: np.ndarray) -> np.ndarray:
    """The image of the tissue: blurred edges, bias field, gain and Rician noise, as int16."""
    padded = F.pad(torch.from_numpy(tissue)[None, None], (1,) * 6, mode="replicate")
    blurred = F.avg_pool3d(padded, 3, stride=1)[0, 0].numpy()
    signal = (0.4 * tissue + 0.6 * blurred) * np.exp(0.1 * _smooth(rng, 1, tissue.shape, nodes=3)[0])
    real, imaginary = 0.055 * rng.standard_normal((2, *tissue.shape))
    return np.rint(1000 * rng.uniform(0.8, 1.2) * np.hypot(signal + real, imaginary)).astype(np.int16)

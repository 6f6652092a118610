# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a data set: the few facts that the search space and the preprocessing depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from monai.data.utils import compute_shape_offset

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.msd import MSDDataset
from monai_ronas.data.stats import CaseStats

_ANISOTROPY = 3.0
_CROP_PAYS_BELOW = 0.75


@dataclass(frozen=True)
class Fingerprint:
    """Facts about a data set. All geometry has its axes in RAS order.

    Attributes:
        name: name of the data set.
        spatial_dims: number of spatial dimensions, 3.
        modality: name of the modality of every channel.
        labels: label value to name, sorted by value, background included. A class is the index of its value: the
            values 0, 1, 4 are the classes 0, 1, 2.
        num_cases: number of cases.
        target_spacing: voxel size (mm) to which volumes are resampled.
        median_shape: median size in voxels per axis after resampling and, with ``crop_foreground``, cropping.
        max_shape: largest size per axis, likewise.
        min_shape: smallest size per axis, likewise.
        crop_foreground: whether volumes are cropped to the box around their voxels above 0.
        normalization: per channel, ``{"mode": "zscore"}`` or, for CT,
            ``{"mode": "ct", "lower", "upper", "mean", "std"}``.
        resample_label: whether labels are resampled to the grid of their image before anything else.
        ignore_label: value of voxels that nobody has labelled; None: there is none. In place of a class they get the
            number of classes.
    """

    name: str
    spatial_dims: int
    modality: tuple[str, ...]
    labels: dict[int, str]
    num_cases: int
    target_spacing: tuple[float, ...]
    median_shape: tuple[int, ...]
    max_shape: tuple[int, ...]
    min_shape: tuple[int, ...]
    crop_foreground: bool
    normalization: tuple[dict[str, Any], ...]
    resample_label: bool = False
    ignore_label: int | None = None

    @property
    def in_channels(self) -> int:
        """Number of image channels."""
        return len(self.modality)

    @property
    def out_channels(self) -> int:
        """Number of classes, background included."""
        return len(self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the fingerprint as JSON-able values."""
        content = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        content["labels"] = {str(value): name for value, name in self.labels.items()}
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Fingerprint:
        """Make a fingerprint from what :meth:`to_dict` returned, possibly written to JSON and read again.

        Args:
            content: the values.

        Returns:
            The fingerprint.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
        }
        values["labels"] = {int(value): name for value, name in content["labels"].items()}
        return cls(**values)


def fingerprint_dataset(
    dataset: MSDDataset, stats: Sequence[CaseStats], *, resample_label: bool = False
) -> Fingerprint:
    """Compute the fingerprint from the statistics collected by :func:`monai_ronas.data.verify_dataset`.

    The target spacing is that of :func:`target_spacing`.

    Args:
        dataset: the data set.
        stats: statistics of its sound cases.
        resample_label: as in :class:`Fingerprint`.

    Returns:
        The fingerprint.

    Raises:
        DatasetError: when ``stats`` is empty.

    Example:
        >>> import tempfile
        >>> from monai_ronas.data import make_phantom_dataset, read_msd, verify_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = read_msd(make_phantom_dataset(f"{folder}/phantom", num_cases=2, size=(16, 16, 16)))
        ...     fingerprint = fingerprint_dataset(dataset, verify_dataset(dataset, workers=1)[1])
        >>> fingerprint.target_spacing, fingerprint.out_channels
        ((1.0, 1.0, 2.0), 4)
    """
    if not stats:
        raise DatasetError(f"data set '{dataset.name}' has no sound case to take a fingerprint of: see its report.")
    spacing = target_spacing(np.array([case.spacing for case in stats]))
    fractions = np.array([case.foreground_fraction for case in stats])
    crop = bool(np.median(fractions.prod(axis=1)) < _CROP_PAYS_BELOW)
    shapes = np.array([_resampled_shape(case, spacing, crop=crop) for case in stats])

    def integers(values: np.ndarray) -> tuple[int, ...]:
        return tuple(round(float(value)) for value in values)

    return Fingerprint(
        name=dataset.name,
        spatial_dims=3,
        modality=tuple(dataset.modality[index] for index in sorted(dataset.modality)),
        labels=dict(dataset.labels),
        num_cases=len(dataset.cases),
        target_spacing=spacing,
        median_shape=integers(np.median(shapes, axis=0)),
        max_shape=integers(shapes.max(axis=0)),
        min_shape=integers(shapes.min(axis=0)),
        crop_foreground=crop,
        normalization=tuple(_normalization(dataset.modality[c], c, stats) for c in sorted(dataset.modality)),
        resample_label=resample_label,
        ignore_label=dataset.ignore_label,
    )


def target_spacing(spacings: np.ndarray) -> tuple[float, ...]:
    """The voxel size to which the volumes of a data set are resampled.

    It follows nnU-Net (Isensee et al., Nature Methods 18, 2021): the median per axis; if the median voxel is more than
    3 times longer on one axis than on the finest, the 10th percentile of that axis, but no finer than the other axes.

    Args:
        spacings: voxel sizes of the cases in mm, ``(cases, axes)``.
    """
    target = np.median(spacings, axis=0)
    coarse = int(target.argmax())
    if target[coarse] / target.min() > _ANISOTROPY:
        target[coarse] = max(np.percentile(spacings[:, coarse], 10), np.delete(target, coarse).max())
    return tuple(round(float(value), 6) for value in target)


def _resampled_shape(case: CaseStats, spacing: tuple[float, ...], *, crop: bool) -> tuple[int, ...]:
    """Shape after ``Spacingd`` and, if asked for, after the crop."""
    resampled, _ = compute_shape_offset(case.shape, np.diag([*case.spacing, 1.0]), np.diag([*spacing, 1.0]))
    fractions = case.foreground_fraction if crop else (1.0,) * len(case.shape)
    return tuple(max(1, round(size * fraction)) for size, fraction in zip(resampled, fractions, strict=True))


def _normalization(modality: str, channel: int, stats: Sequence[CaseStats]) -> dict[str, Any]:
    """CT intensities have a unit, so that one window fits all cases; others are normalised case by case."""
    labelled = [case for case in stats if case.intensity_mean]
    if modality.strip().lower() != "ct" or not labelled:
        return {"mode": "zscore"}
    pooled = np.concatenate([case.intensity_quantiles[channel] for case in labelled])  # every case weighs the same
    means = np.array([case.intensity_mean[channel] for case in labelled])
    stds = np.array([case.intensity_std[channel] for case in labelled])
    std = float(np.sqrt(np.mean(stds**2 + means**2) - means.mean() ** 2))
    return {
        "mode": "ct",
        "lower": float(np.percentile(pooled, 0.5)),
        "upper": float(np.percentile(pooled, 99.5)),
        "mean": float(means.mean()),
        "std": std if std > 1e-6 else 1.0,
    }

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_ronas.data import (
    CaseStats,
    DatasetError,
    Fingerprint,
    MSDDataset,
    build_preprocessing,
    fingerprint_dataset,
    read_msd,
    verify_dataset,
)


def dataset_of(*modality: str) -> MSDDataset:
    return MSDDataset(
        root=Path(),
        name="Toy",
        description="",
        licence="",
        modality=dict(enumerate(modality)),
        labels={0: "background", 1: "organ"},
        cases=(),
    )


def stats_of(
    *, shape=(40, 40, 20), spacing=(1.0, 1.0, 1.0), fraction=(1.0, 1.0, 1.0), mean=(0.0,), std=(1.0,)
) -> CaseStats:
    levels = tuple(tuple(np.linspace(m - 2 * s, m + 2 * s, 200).tolist()) for m, s in zip(mean, std, strict=True))
    return CaseStats(
        name="a",
        shape=shape,
        spacing=spacing,
        foreground_fraction=fraction,
        intensity_quantiles=levels,
        intensity_mean=mean,
        intensity_std=std,
        label_voxels={0: 1, 1: 1},
    )


def test_median_spacing_and_shapes():
    stats = [stats_of(spacing=(s, s, 2 * s), shape=(n, n, 21)) for s, n in ((0.5, 41), (1.0, 41), (2.0, 31))]
    fingerprint = fingerprint_dataset(dataset_of("MRI"), stats)
    assert fingerprint.target_spacing == (1.0, 1.0, 2.0)
    assert fingerprint.min_shape == (21, 21, 11)
    assert fingerprint.median_shape == (41, 41, 21)
    assert fingerprint.max_shape == (61, 61, 41)
    assert not fingerprint.crop_foreground
    assert fingerprint.normalization == ({"mode": "zscore"},)


def test_coarse_axis_takes_the_10th_percentile_but_no_finer_than_the_others():
    thick = [stats_of(spacing=(1.0, 1.0, z)) for z in np.linspace(2, 12, 11)]
    assert fingerprint_dataset(dataset_of("MRI"), thick).target_spacing == (1.0, 1.0, 3.0)
    mixed = [stats_of(spacing=(1.0, 1.0, z)) for z in [0.5] * 4 + [5.0] * 7]
    assert fingerprint_dataset(dataset_of("MRI"), mixed).target_spacing == (1.0, 1.0, 1.0)


def test_crop_pays_when_the_box_is_small():
    cropped = fingerprint_dataset(dataset_of("MRI"), [stats_of(fraction=(0.5, 0.9, 1.0))])
    assert cropped.crop_foreground
    assert cropped.median_shape == (20, 36, 20)
    assert not fingerprint_dataset(dataset_of("MRI"), [stats_of(fraction=(0.8, 1.0, 1.0))]).crop_foreground


def test_ct_window_is_pooled_over_cases():
    stats = [stats_of(mean=(0.0,), std=(10.0,)), stats_of(mean=(100.0,), std=(10.0,))]
    (ct,) = fingerprint_dataset(dataset_of("CT"), stats).normalization
    assert ct["mode"] == "ct"
    assert ct["mean"] == pytest.approx(50)
    assert ct["std"] == pytest.approx(np.sqrt(50**2 + 10**2))
    assert ct["lower"] == pytest.approx(-20, abs=0.5)
    assert ct["upper"] == pytest.approx(120, abs=0.5)


def test_round_trip_through_json():
    fingerprint = fingerprint_dataset(dataset_of("CT", "PET"), [stats_of(mean=(0.0, 1.0), std=(1.0, 1.0))])
    assert [channel["mode"] for channel in fingerprint.normalization] == ["ct", "zscore"]
    assert Fingerprint.from_dict(json.loads(json.dumps(fingerprint.to_dict()))) == fingerprint
    assert (fingerprint.in_channels, fingerprint.out_channels) == (2, 2)


def test_no_sound_case():
    with pytest.raises(DatasetError, match="'Toy' has no sound case"):
        fingerprint_dataset(dataset_of("MRI"), [])


def test_shapes_are_those_of_preprocessing(maker):
    """The predicted shapes equal what Orientationd, Spacingd and CropForegroundd give."""
    rng = np.random.default_rng(0)
    for index, (shape, spacing) in enumerate((((15, 22, 9), (1.5, 0.7, 3)), ((21, 18, 12), (0.9, 1.1, 2.2)))):
        image = rng.uniform(1, 2, shape).astype(np.float32)
        maker.add(f"case{index}", image=image, affine=np.diag([-spacing[0], spacing[1], spacing[2], 1]))
    dataset = read_msd(maker.write())
    fingerprint = fingerprint_dataset(dataset, verify_dataset(dataset)[1])
    transform = build_preprocessing(fingerprint)
    shapes = [tuple(transform({"image": c.image, "label": c.label})["image"].shape[1:]) for c in dataset.cases]
    assert fingerprint.min_shape == tuple(np.min(shapes, axis=0))
    assert fingerprint.max_shape == tuple(np.max(shapes, axis=0))


def test_real_data(real_data: Path):
    dataset = read_msd(real_data)
    fingerprint = fingerprint_dataset(dataset, verify_dataset(dataset)[1])
    assert fingerprint.target_spacing == (1.0, 1.0, 1.0)
    assert fingerprint.median_shape == (35, 50, 36)
    assert fingerprint.max_shape == (43, 58, 47)

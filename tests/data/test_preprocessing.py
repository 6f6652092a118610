# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Invertd

from monai_ronas.data import ClassIndicesd, Fingerprint, build_preprocessing, preprocessing_config

FINGERPRINT = Fingerprint(
    name="Toy",
    spatial_dims=3,
    modality=("MRI",),
    labels={0: "background", 1: "organ"},
    num_cases=1,
    target_spacing=(1.0, 1.0, 2.0),
    median_shape=(32, 32, 16),
    max_shape=(32, 32, 16),
    min_shape=(32, 32, 16),
    crop_foreground=False,
    normalization=({"mode": "zscore"},),
)
CT = {"mode": "ct", "lower": -50.0, "upper": 150.0, "mean": 40.0, "std": 20.0}


def rotated_volume(folder: Path, *, margin: int = 0) -> tuple[Path, np.ndarray, np.ndarray]:
    """An oblique, anisotropic, odd-sized volume in LIP order with a bright body; file, body mask and affine."""
    shape = (27, 17, 33)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = ((x - 0.2) / 0.5) ** 2 + ((y + 0.1) / 0.6) ** 2 + ((z - 0.15) / 0.45) ** 2 < 1
    image = np.where(body, 1000.0, 200.0).astype(np.float32)
    if margin:
        air = np.ones(shape, bool)
        air[(slice(margin, -margin),) * 3] = False
        image[air] = 0
    angle = np.deg2rad(15)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes @ np.diag([0.8, 2.5, 1.3])
    affine[:3, 3] = (31.0, -12.0, 7.0)
    file = folder / "oblique.nii.gz"
    nib.save(nib.Nifti1Image(image, affine), file)
    return file, body, affine


def test_training_crops_find_the_classes_where_it_is_asked_for():
    plain, indexed = (build_preprocessing(FINGERPRINT, class_indices=flag).transforms for flag in (False, True))
    assert [type(step) for step in indexed] == [*(type(step) for step in plain), ClassIndicesd]
    assert (indexed[-1].keys, indexed[-1].num_classes) == (("label",), 2)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("extra", [{}, {"image_path": "/server/oblique.nii.gz"}])
def test_prediction_returns_to_the_geometry_of_its_file(tmp_path: Path, crop, extra):
    file, body, affine = rotated_volume(tmp_path, margin=3 if crop else 0)
    fingerprint = dataclasses.replace(FINGERPRINT, crop_foreground=crop)
    transform = build_preprocessing(fingerprint, keys=("image",), track_meta=True)
    data = transform({"image": str(file), **extra})
    assert nib.aff2axcodes(data["image"].affine.numpy()) == ("R", "A", "S")
    assert nib.affines.voxel_sizes(data["image"].affine.numpy()) == pytest.approx((1.0, 1.0, 2.0))
    assert set(data) == {"image", *extra}

    bright = data["image"] > data["image"].mean() + data["image"].std()
    data["pred"] = MetaTensor(bright.float(), meta=data["image"].meta)
    data = Invertd(keys="pred", transform=transform, orig_keys="image", nearest_interp=True)(data)
    assert data["pred"].shape == (1, *body.shape)
    np.testing.assert_allclose(data["pred"].affine.numpy(), affine, atol=1e-4)
    found = data["pred"][0].numpy() > 0.5
    assert 2 * (found & body).sum() / (found.sum() + body.sum()) > 0.9


def test_training_items_are_plain_and_normalised(phantom: Path):
    item = {"image": phantom / "imagesTr" / "phantom_000.nii.gz", "label": phantom / "labelsTr" / "phantom_000.nii.gz"}
    labels = {value: str(value) for value in range(4)}
    data = build_preprocessing(dataclasses.replace(FINGERPRINT, labels=labels))(item)
    assert {key: type(value) for key, value in data.items()} == {"image": torch.Tensor, "label": torch.Tensor}
    assert data["image"].dtype == data["label"].dtype == torch.float32
    assert data["image"].shape == data["label"].shape
    assert data["image"].mean().item() == pytest.approx(0, abs=1e-4)
    assert data["image"].std().item() == pytest.approx(1, abs=1e-3)
    assert data["label"].unique().tolist() == [0, 1, 2, 3]


def test_label_is_resampled_with_its_image(maker):
    maker.add("a", affine=np.diag([-0.7, 1.6, 2.9, 1]))
    root = maker.write()
    data = build_preprocessing(FINGERPRINT)({"image": root / "imagesTr/a.nii.gz", "label": root / "labelsTr/a.nii.gz"})
    assert data["image"].shape == data["label"].shape == (1, 7, 12, 10)
    assert data["label"].unique().tolist() == [0, 1]


def test_crop_normalises_within_the_foreground(tmp_path: Path):
    file, _, _ = rotated_volume(tmp_path, margin=3)
    data = build_preprocessing(dataclasses.replace(FINGERPRINT, crop_foreground=True), keys=("image",))({"image": file})
    whole = build_preprocessing(FINGERPRINT, keys=("image",))({"image": file})
    assert all(small < large for small, large in zip(data["image"].shape[1:], whole["image"].shape[1:], strict=True))
    inside = data["image"][data["image"] != 0]
    assert inside.mean().item() == pytest.approx(0, abs=1e-4)


def test_ct_is_clipped_and_scaled_per_channel(maker):
    image = np.zeros((9, 8, 7, 2), np.float32)
    image[0], image[1] = -1000, 3000
    image[2] = (40, 70)
    maker.add("a", image=image)
    second = CT | {"lower": -20.0, "upper": 200.0, "mean": 50.0, "std": 10.0}
    fingerprint = dataclasses.replace(
        FINGERPRINT, modality=("CT", "CT"), normalization=(CT, second), target_spacing=(1.0, 1.0, 1.0)
    )
    file = maker.write() / "imagesTr" / "a.nii.gz"
    found = build_preprocessing(fingerprint, keys=("image",))({"image": file})["image"][:, :3, 0, 0]
    np.testing.assert_allclose(found, [[-4.5, 8.0, 0.0], [-10.0, 15.0, 2.0]], rtol=1e-5)


def test_mixed_modalities_are_z_scored():
    fingerprint = dataclasses.replace(FINGERPRINT, modality=("CT", "PET"), normalization=(CT, {"mode": "zscore"}))
    names = [component["_target_"] for component in preprocessing_config(fingerprint, load=False)]
    assert names == ["Orientationd", "monai_ronas.data.SlabSpacingd", "NormalizeIntensityd", "EnsureTyped"]


def test_configuration_is_plain_json_and_builds_without_warnings():
    fingerprint = dataclasses.replace(FINGERPRINT, normalization=(CT,), crop_foreground=True)
    config = preprocessing_config(fingerprint, keys=("image",), track_meta=True)
    assert json.loads(json.dumps(config)) == config
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        parsed = ConfigParser({"preprocessing": {"_target_": "Compose", "transforms": config}})
        assert len(parsed.get_parsed_content("preprocessing").transforms) == len(config)


def test_keys_must_be_one_or_two():
    with pytest.raises(ValueError, match="keys must be"):
        preprocessing_config(FINGERPRINT, keys=())

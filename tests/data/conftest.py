# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data import make_phantom_dataset


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom data set of five small cases, not to be changed."""
    folder = tmp_path_factory.mktemp("phantom") / "set"
    return Path(make_phantom_dataset(folder, num_cases=5, size=(24, 28, 20)))


class DatasetMaker:
    """Writes small MSD-style data sets; everything can be overridden to spoil them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content: dict[str, Any] = {
            "name": "Toy",
            "licence": "none",
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "organ"},
            "training": [],
        }

    def add(
        self,
        name: str,
        *,
        image: np.ndarray | None = None,
        label: np.ndarray | None = None,
        affine: np.ndarray | None = None,
        label_affine: np.ndarray | None = None,
        suffix: str = ".nii.gz",
    ) -> None:
        affine = np.eye(4) if affine is None else affine
        if image is None:
            rng = np.random.default_rng(1000 + len(self.content["training"]))
            image = rng.uniform(1, 2, (9, 8, 7)).astype(np.float32)
        if label is None:
            label = np.zeros(image.shape[:3], dtype=np.uint8)
            label[2:5, 2:5, 2:5] = 1
        entry = {}
        for key, folder, data, matrix in (
            ("image", "imagesTr", image, affine),
            ("label", "labelsTr", label, affine if label_affine is None else label_affine),
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            entry[key] = f"./{folder}/{name}{suffix}"
            nib.save(nib.Nifti1Image(data, matrix), self.root / entry[key])
        self.content["training"].append(entry)

    def write(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "dataset.json").write_text(json.dumps(self.content), encoding="utf-8")
        return self.root


@pytest.fixture
def maker(tmp_path: Path) -> DatasetMaker:
    return DatasetMaker(tmp_path / "toy")

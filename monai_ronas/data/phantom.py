# SPDX-License-Identifier: Apache-2.0
"""A synthetic data set, made on first use, on which a search can run without a download."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.phantom_case import LABELS, make_phantom_case
from monai_ronas.errors import SettingError
from monai_ronas.utils.ranks import main_first

_VERSION = 1


@main_first()
def make_phantom_dataset(
    dataset_dir: str | os.PathLike[str],
    *,
    num_cases: int = 24,
    seed: int = 0,
    size: Sequence[int] = (44, 52, 28),
    spacing: Sequence[float] = (1.0, 1.0, 2.0),
) -> str:
    """Write an MSD-style data set of synthetic volumes, unless the same one is already there.

    The same arguments give the same voxels. The data set is written beside its place and renamed at the end, so that
    an interrupted run leaves no half-made one.

    Args:
        dataset_dir: folder to make.
        num_cases: number of labelled cases.
        seed: seed of all randomness; case ``i`` depends on ``seed``, ``i`` and ``size`` only.
        size: mean volume size in voxels per axis, each at least 16; cases vary by a few voxels.
        spacing: voxel size in mm per axis.

    Returns:
        The path of the data set.

    Raises:
        SettingError: when an argument is out of range.
        DatasetError: when ``dataset_dir`` already holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = make_phantom_dataset(f"{folder}/phantom", num_cases=2, size=(16, 16, 16))
        ...     sorted(path.name for path in Path(made).iterdir())
        ['dataset.json', 'imagesTr', 'labelsTr']
    """
    shape, lengths = [int(n) for n in size], [float(mm) for mm in spacing]
    parameters: dict[str, Any] = {
        "version": _VERSION,
        "num_cases": int(num_cases),
        "seed": int(seed),
        "size": shape,
        "spacing": lengths,
    }
    if num_cases < 1 or seed < 0:
        raise SettingError(f"num_cases must be at least 1 and seed at least 0, received {num_cases} and {seed}.")
    if len(shape) != 3 or min(shape) < 16:
        raise SettingError(f"size must hold three numbers of at least 16, received {size}.")
    if len(lengths) != 3 or min(lengths) <= 0:
        raise SettingError(f"spacing must hold three positive numbers (mm), received {spacing}.")

    target = Path(dataset_dir)
    if _is_complete(target, parameters):
        return str(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(
            f"'{target}' already holds something other than this phantom data set: choose another folder or remove it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        _write(draft, parameters)
        try:
            draft.replace(target)
        except OSError:
            if not _is_complete(target, parameters):  # else another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return str(target)


def _description(parameters: dict[str, Any]) -> dict[str, Any]:
    names = [f"phantom_{index:03d}.nii.gz" for index in range(parameters["num_cases"])]
    return {
        "name": "Phantom",
        "description": "Synthetic body with a bent organ, a lesion inside it, a thin vessel and look-alikes of each",
        "licence": "Apache-2.0 (synthetic)",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {str(value): name for value, name in enumerate(LABELS)},
        "numTraining": parameters["num_cases"],
        "numTest": 0,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
        "phantom": parameters,
    }


def _is_complete(folder: Path, parameters: dict[str, Any]) -> bool:
    try:
        content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if content != _description(parameters):
        return False
    return all((folder / entry[key]).is_file() for entry in content["training"] for key in ("image", "label"))


def _write(folder: Path, parameters: dict[str, Any]) -> None:
    description = _description(parameters)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for index, entry in enumerate(description["training"]):
        rng = np.random.default_rng([parameters["seed"], index])
        image, label = make_phantom_case(rng, size=parameters["size"])
        affine = np.diag([*parameters["spacing"], 1.0])
        affine[:3, 3] = -affine.diagonal()[:3] * (np.array(label.shape) - 1) / 2
        nib.save(nib.Nifti1Image(image, affine), folder / entry["image"])
        nib.save(nib.Nifti1Image(label, affine), folder / entry["label"])
    (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

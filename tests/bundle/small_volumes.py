# SPDX-License-Identifier: Apache-2.0
"""Small volumes, good and bad, and their segmentation by an exported inference configuration."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from monai_ronas.bundle.configs import Derived
from monai_ronas.data import Fingerprint
from monai_ronas.networks.nets import RonasUNet

from .inference import run_inference

SHAPE = (12, 10, 8)
FINGERPRINT = Fingerprint(
    name="Toy",
    spatial_dims=3,
    modality=("MRI",),
    labels={0: "background", 1: "organ"},
    num_cases=1,
    target_spacing=(1.0, 1.0, 1.0),
    median_shape=SHAPE,
    max_shape=SHAPE,
    min_shape=SHAPE,
    crop_foreground=False,
    normalization=({"mode": "zscore"},),
)


def volume(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 3, shape).astype(np.float32)


def save(path: Path, data: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume() if data is None else data, np.eye(4) if affine is None else affine), path)
    return path


def segment(
    folder: Path,
    out: Path,
    *,
    classes: int = 2,
    foreground: bool | None = True,
    values: tuple[int, ...] = (),
    channels: int = 1,
    **changes,
) -> str | None:
    """Run ``inference.json`` with a network of arbitrary weights; returns the sentence at the end, if there is one."""
    values = values or tuple(range(classes))
    classes = len(values)
    network = {
        "spatial_dims": 3,
        "in_channels": channels,
        "out_channels": classes,
        "channels": (2, 2),
        "strides": ((1, 1, 1), (1, 1, 1)),
        "dilations": (1, 1),
        "deep_supervision": False,
    }
    labels = {value: str(value) for value in values}
    derived = Derived(
        network,
        (1, 1, 1),
        (4, 4, 4),
        10**6,
        Fingerprint(**{**vars(FINGERPRINT), "labels": labels, "modality": ("MRI",) * channels}),
        batch_size=1,
        amp=False,
        flip_axes=(),
        test_time_flips=False,
    )
    torch.manual_seed(0)
    weights = RonasUNet(**network).state_dict()
    if foreground is not None:
        weights["heads.0.bias"][-1] = 100.0 if foreground else -100.0
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "models").mkdir()
        torch.save(weights, Path(root) / "models" / "model.pt")
        return run_inference(derived, Path(root), dataset_dir=str(folder), output_dir=str(out), **changes)


def cut(path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-1000])


def nan(value: float):
    def write(path: Path) -> None:
        data = volume()
        data[0, 0, 0] = value
        save(path, data)

    return write


BAD = {
    "NaN": (nan(np.nan), "the image holds 1 NaN or infinite value(s)"),
    "infinite": (nan(-np.inf), "the image holds 1 NaN or infinite value(s)"),
    "a mark for no data": (nan(-3.4e38), "the image holds -3.4e+38, perhaps a mark for no data"),
    "constant": (lambda path: save(path, np.full(SHAPE, 5.0, np.float32)), "the same value, 5, everywhere"),
    "metres": (lambda path: save(path, affine=np.diag([1e-3, 1e-3, 1e-3, 1])), "resampled to 1 x 1 x 1 voxels"),
    "micrometres": (lambda path: save(path, affine=np.diag([1e3, 1e3, 1e3, 1])), "to 11001 x 9001 x 7001 voxels"),
    "four channels": (lambda path: save(path, volume(shape=(*SHAPE, 4))), "4 channel(s), or moments of time, where"),
    "flat": (lambda path: save(path, volume()[..., 0]), "the image has shape (12, 10) where a volume"),
    "cut": (cut, "the image file cannot be read (EOFError: Compressed file ended before"),
    "empty": (lambda path: path.write_bytes(b""), "the image file cannot be read ("),
    "text": (lambda path: path.write_bytes(b"no volume"), "the image file cannot be read ("),
    "folder": (lambda path: save(path / "volume.nii"), "the image file cannot be read (it is a folder)"),
}

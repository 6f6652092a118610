# SPDX-License-Identifier: Apache-2.0
"""The same volumes in every format and layout: the same fingerprint, the same training batch, the same predictions.

Crops of real heart volumes, put down obliquely and one of them with another voxel size, so that it is resampled.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from monai_ronas.bundle import evaluation_cases
from monai_ronas.data import ClassIndicesd, build_dataset, build_preprocessing, open_study
from monai_ronas.data.formats import ending
from monai_ronas.data.reading import read_volume
from monai_ronas.engines import PatchBatch
from monai_ronas.networks.nets import RonasSuperNet
from tests.bundle.small_volumes import segment
from tests.toys import toy_space
from tests.volume_files import write

from .conftest import SEARCH, run_bundle

HEARTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ACDC"
ENDINGS = {"NIfTI": ".nii.gz", "NRRD": ".nrrd", "MetaImage": ".mha", "DICOM": ""}
LAYOUTS = ("MSD", "nnU-Net", "folder per case")
STORED = ("one channel", "two as a fourth axis", "two as files")
SPLIT = {"fold": None, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}


def affine(spacing, angles) -> np.ndarray:
    """Right-handed, as slices of a DICOM series are ordered, and such as float32 holds it."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    matrix[:3, 3] = (-40.5, 12.25, 7.0)
    return matrix.astype(np.float32).astype(np.float64)


AFFINES = [
    affine((1.5, 1.5, 3.0), (0, 0, 0)),
    affine((1.5, 1.5, 3.0), (20, -15, 30)),
    affine((1.5, 1.5, 3.0), (-25, 10, 5)),
    affine((1.25, 1.75, 2.5), (10, 35, -20)),
]


@pytest.fixture(scope="module")
def crops():
    """Image ``(X, Y, Z, 2)``, label and affine by the case's name."""
    if not (HEARTS / "dataset.json").is_file():
        pytest.skip(f"needs the heart volumes of ACDC in {HEARTS}")
    found = {}
    for path, matrix in zip(sorted((HEARTS / "imagesTr").glob("*01.nii.gz")), AFFINES, strict=False):
        image = np.rint(np.asanyarray(nib.load(path).dataobj)).astype(np.int16)
        label = np.asanyarray(nib.load(HEARTS / "labelsTr" / path.name).dataobj).astype(np.uint8)
        centre = [int(axis.mean()) for axis in np.nonzero(label)]
        part = tuple(
            slice(max(c - n // 2, 0), max(c - n // 2, 0) + n) for c, n in zip(centre, (18, 17, 6), strict=True)
        )
        two = np.stack([image[part], 1000 - image[part][::-1]], axis=-1)
        found[path.name.removesuffix(".nii.gz")] = (two, (label[part] > 0).astype(np.uint8), matrix)
    return found


def make(root: Path, crops, kind: str, layout: str, stored: str) -> Path:
    """Write the volumes as a data set."""
    end, label_end = ENDINGS[kind], ENDINGS[kind] or ".nii.gz"
    content = {"name": "Hearts", "labels": {"background": 0, "heart": 1}, "channel_names": {"0": "CT"}, "training": []}
    if stored != "one channel":
        content["channel_names"]["1"] = "CT"
    for name, (image, label, matrix) in crops.items():
        channels = [image[..., 0], image[..., 1]] if stored == "two as files" else [image[..., 0]]
        channels = [image] if stored == "two as a fourth axis" else channels
        if layout == "nnU-Net":
            images = [f"imagesTr/{name}_{k:04d}{end}" for k in range(len(channels))]
        elif layout == "MSD":
            images = [f"imagesTr/{name}{f'-t{k}' if len(channels) > 1 else ''}{end}" for k in range(len(channels))]
        else:
            images = [f"{name}/t{k}{end}" for k in range(len(channels))]
        target = f"{name}/segmentation{label_end}" if layout == "folder per case" else f"labelsTr/{name}{label_end}"
        for path, voxels in zip(images, channels, strict=True):
            write(root / path, voxels, matrix)
        write(root / target, label, matrix)
        content["training"].append({"image": images if len(images) > 1 else images[0], "label": target})
    if layout == "nnU-Net":
        content |= {"numTraining": len(content.pop("training")), "file_ending": label_end}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def results(root: Path, channels: int, out: Path) -> dict:
    """What a search and a bundle make of a data set."""
    study = open_study(root, out, **SPLIT)
    transforms = [*build_preprocessing(study.fingerprint).transforms, ClassIndicesd(keys="label", num_classes=2)]
    items = list(build_dataset(study.cases("train"), transforms, cache_dir=out / "cache"))
    network = RonasSuperNet(toy_space(), channels, 2, channels=(2, 3, 4))
    crops = PatchBatch(network, batch_size=2, seed=0)(items[:2], device="cpu")
    assert segment(root, out / "predictions", channels=channels, foreground=None) is None
    written = sorted(path for path in (out / "predictions").rglob("*") if ending(path))
    return {
        "study": study,
        "report": json.loads((out / "dataset_report.json").read_text()),
        "batch": crops,
        "predictions": [read_volume([path]) for path in written],
        "endings": {ending(path) for path in written},
    }


@pytest.fixture(scope="module")
def expected(crops, tmp_path_factory):
    """The results for MSD data sets in NIfTI, by the number of channels."""
    made = {}
    for channels, stored in ((1, "one channel"), (2, "two as a fourth axis")):
        folder = tmp_path_factory.mktemp("expected")
        made[channels] = results(make(folder / "data", crops, "NIfTI", "MSD", stored), channels, folder / "out")
    return made


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ENDINGS)
def test_formats_and_layouts_make_no_difference(crops, expected, tmp_path, kind, layout, stored):
    if kind == "DICOM" and stored == "two as a fourth axis":
        pytest.skip("a DICOM series has one channel")
    channels = 1 if stored == "one channel" else 2
    root = make(tmp_path / "data", crops, kind, layout, stored)
    found, same = results(root, channels, tmp_path / "out"), expected[channels]
    assert found["study"].fingerprint == same["study"].fingerprint
    assert found["study"].split == same["study"].split
    assert [case.name for case in found["study"].dataset.cases] == list(crops)
    assert (found["report"]["dataset"]["layout"], found["report"]["dataset"]["formats"]["image"]) == (layout, [kind])
    assert not found["report"]["faults"]
    for mine, other in zip(found["batch"], same["batch"], strict=False):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(other), rtol=0, atol=0)
    assert found["endings"] == {ENDINGS[kind] or ".nii.gz"}
    for (mine, place), (other, where), (image, *_, matrix) in zip(
        found["predictions"], same["predictions"], crops.values(), strict=True
    ):
        assert np.array_equal(mine, other)
        assert mine.shape == image.shape[:3]
        assert 0 < mine.mean() < 1
        np.testing.assert_allclose(place, where, atol=1e-5)
        np.testing.assert_allclose(place, matrix, atol=1e-5)


def test_the_frames_of_a_patient_are_on_one_side_of_the_split(tmp_path):
    if not (HEARTS / "dataset.json").is_file():
        pytest.skip(f"needs the heart volumes of ACDC in {HEARTS}")
    command = ["run", "verify", "--config_file", str(SEARCH), "--dataset_dir", str(HEARTS), "--output_dir"]
    done = run_bundle(*command, str(tmp_path / "grouped"), "--group", r"(patient\d+)_")
    assert done.returncode == 0, done.stderr
    split = json.loads((tmp_path / "grouped" / "dataset_report.json").read_text())["split"]
    patients = {part: {name.split("_")[0] for name in split[part]} for part in ("train", "reward", "test")}
    assert sum(len(split[part]) for part in patients) == 150
    assert {part: len(found) for part, found in patients.items()} == {"train": 51, "reward": 9, "test": 15}
    assert len(set().union(*patients.values())) == 75
    assert "if these are patients, --group" not in done.stdout
    hinted = run_bundle(*command, str(tmp_path / "single"))
    assert hinted.returncode == 0, hinted.stderr
    assert r"--group '(patient\d+)_' keeps the cases of each on one side of the split" in hinted.stdout


def test_a_bundle_is_evaluated_on_cases_of_any_layout(crops, tmp_path):
    root = make(tmp_path / "data", crops, "MetaImage", "folder per case", "two as files")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [min(crops)], "reward": [], "test": []}))
    assert evaluation_cases(root, split) == [
        {"image": [str(root / name / f"t{k}.mha") for k in (0, 1)], "label": str(root / name / "segmentation.mha")}
        for name in sorted(crops)[1:]
    ]

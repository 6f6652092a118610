# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data import DatasetError, make_phantom_dataset, read_msd

SMALL = {"num_cases": 2, "size": (24, 28, 20)}


def voxels(folder: Path) -> list[np.ndarray]:
    return [np.asarray(nib.load(file).dataobj) for file in sorted(folder.rglob("*.nii.gz"))]


def test_layout(phantom: Path):
    dataset = read_msd(phantom)
    assert (dataset.name, dataset.licence) == ("Phantom", "Apache-2.0 (synthetic)")
    assert dataset.labels == {0: "background", 1: "organ", 2: "lesion", 3: "vessel"}
    assert dataset.modality == {0: "MRI"}
    assert len(dataset.cases) == 5
    for case in dataset.cases:
        image, label = nib.load(case.image), nib.load(case.label)
        assert image.shape == label.shape
        assert all(abs(n - mean) <= 3 for n, mean in zip(image.shape, (24, 28, 20), strict=True))
        assert image.header.get_zooms() == (1.0, 1.0, 2.0)
        assert np.unique(np.asarray(label.dataobj)).tolist() == [0, 1, 2, 3]
    assert len({nib.load(case.image).shape for case in dataset.cases}) > 1


def test_same_seed_same_voxels(tmp_path: Path):
    first, again, other = (
        voxels(Path(make_phantom_dataset(tmp_path / name, seed=seed, **SMALL)))
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert len(first) == 4
    assert all(x.tobytes() == y.tobytes() for x, y in zip(first, again, strict=True))
    assert not any(x.tobytes() == y.tobytes() for x, y in zip(first, other, strict=True))


def test_returns_at_once_if_there_and_refuses_anything_else(tmp_path: Path):
    folder = tmp_path / "deep" / "set"
    make_phantom_dataset(folder, **SMALL)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert make_phantom_dataset(folder, **SMALL) == str(folder)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    with pytest.raises(DatasetError, match="already holds something other"):
        make_phantom_dataset(folder, seed=1, **SMALL)
    next(folder.glob("imagesTr/*")).unlink()
    with pytest.raises(DatasetError, match="choose another folder or remove it"):
        make_phantom_dataset(folder, **SMALL)


def test_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_ronas.data.phantom.nib.save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_phantom_dataset(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "set").mkdir()  # an empty folder is filled
    make_phantom_dataset(tmp_path / "set", **SMALL)
    assert json.loads((tmp_path / "set" / "dataset.json").read_text())["numTraining"] == 2


@pytest.mark.parametrize(
    "wrong", [{"num_cases": 0}, {"seed": -1}, {"size": (8, 28, 20)}, {"size": (24, 28)}, {"spacing": (1, 1, 0)}]
)
def test_arguments(tmp_path: Path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_phantom_dataset(tmp_path / "set", **SMALL | wrong)


def test_intensity_alone_does_not_solve_it(tmp_path: Path):
    """The best intensity interval of every label, chosen with the label at hand, stays below a Dice of 0.5."""
    dataset = read_msd(make_phantom_dataset(tmp_path / "set", num_cases=4))
    scores = []
    for case in dataset.cases:
        image, label = (np.asarray(nib.load(file).dataobj) for file in (case.image, case.label))
        edges = np.quantile(image, np.linspace(0, 1, 41))
        for value in (1, 2, 3):
            target = np.histogram(image[label == value], edges)[0]
            every = np.histogram(image, edges)[0]
            scores.append(
                max(
                    2 * target[low:high].sum() / (every[low:high].sum() + target.sum())
                    for low, high in combinations(range(41), 2)
                )
            )
    assert np.mean(scores) < 0.5
    assert max(np.reshape(scores, (-1, 3)).mean(axis=0)) < 0.6

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
from collections import namedtuple
from pathlib import Path

import nibabel as nib
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, LoadImaged, RandFlipd

from monai_ronas.data import DatasetError, build_dataset, caching, read_msd
from monai_ronas.engines import PatchBatch
from monai_ronas.networks.nets import RonasSuperNet
from tests.toys import toy_space

KEYS = ("image", "label")
LOAD = Compose([LoadImaged(keys=KEYS, ensure_channel_first=True)])
Disk = namedtuple("Disk", ["total", "used", "free"])


def case_gb(phantom: Path, name: str) -> float:
    return 5 * nib.load(phantom / "imagesTr" / f"{name}.nii.gz").get_fdata().size / 1024**3


@pytest.mark.parametrize("memory_gb", [None, 0, "two cases"])
def test_keeps_in_memory_what_fits_and_gives_all(phantom: Path, memory_gb):
    cases = read_msd(phantom).cases
    expected = {None: len(cases), 0: 0, "two cases": 2}[memory_gb]
    if memory_gb == "two cases":
        memory_gb = sum(case_gb(phantom, case.name) for case in cases[:2])
    dataset = build_dataset(cases, LOAD, memory_gb=memory_gb)
    assert isinstance(dataset, CacheDataset)
    assert dataset.cache_num == expected
    assert len(dataset) == len(cases)
    for case, item in zip(cases, dataset, strict=True):
        assert torch.equal(item["image"][0], torch.from_numpy(nib.load(case.image).get_fdata()).float())
        assert torch.equal(item["label"][0], torch.from_numpy(nib.load(case.label).get_fdata()).to(torch.uint8))


def test_what_is_in_memory_is_not_read_again(phantom: Path, monkeypatch):
    dataset = build_dataset(read_msd(phantom).cases, LOAD)
    monkeypatch.setattr(LoadImaged, "__call__", None)
    assert len(list(dataset)) == 5


def test_the_disk_gives_what_the_memory_gives(phantom: Path, tmp_path: Path):
    cases = read_msd(phantom).cases
    kept = build_dataset(cases, LOAD)
    stored = build_dataset(cases, LOAD, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == len(cases) == len(stored)
    for first, second in zip(kept, stored, strict=True):
        assert first.keys() == second.keys() == {"image", "label"}
        assert all(first[key].dtype == second[key].dtype and torch.equal(first[key], second[key]) for key in first)


def test_data_sets_share_the_files_of_their_cases(phantom: Path, tmp_path: Path, monkeypatch):
    cases = read_msd(phantom).cases
    build_dataset(cases[:4], LOAD, cache_dir=tmp_path)
    monkeypatch.setattr(caching, "case_values", None)  # no file is looked into
    again = build_dataset(cases[2:4], LOAD, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert again[1]["image"].shape == (1, *nib.load(cases[3].image).shape)


def test_negative_memory(phantom: Path):
    with pytest.raises(ValueError, match="memory_gb must be None or at least 0, received -1"):
        build_dataset(read_msd(phantom).cases, LOAD, memory_gb=-1)


def test_random_transforms_are_refused(phantom: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="transform must be deterministic, received RandFlipd"):
        build_dataset(read_msd(phantom).cases, Compose([LOAD, RandFlipd(keys=KEYS)]), cache_dir=tmp_path)


def test_no_room_on_the_disk(phantom: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda folder: Disk(10**12, 10**12, 1000))
    with pytest.raises(
        DatasetError, match=r"cache_dir '.*' has 0.00 GB free .* need about 0.00 GB: make room, or give"
    ):
        build_dataset(read_msd(phantom).cases, LOAD, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_becomes_full(phantom: Path, tmp_path: Path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("monai_ronas.data.disk_cache.write_atomically", full)
    with pytest.raises(DatasetError, match=r"cannot hold the preprocessed cases \(No space left on device\): give"):
        build_dataset(read_msd(phantom).cases, LOAD, cache_dir=tmp_path / "cache")


def test_a_folder_that_is_a_file(phantom: Path, tmp_path: Path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(DatasetError, match="cannot hold the preprocessed cases"):
        build_dataset(read_msd(phantom).cases, LOAD, cache_dir=tmp_path / "cache")


def test_crops_of_a_stored_case_are_those_of_one_in_memory(phantom: Path, tmp_path: Path):
    cases = read_msd(phantom).cases[:2]
    batches = []
    for folder in (None, tmp_path):
        data = build_dataset(cases, LOAD, cache_dir=folder)
        network = RonasSuperNet(toy_space(), 1, 4, channels=(2, 3, 4))
        batches.append(PatchBatch(network, batch_size=4, foreground=0.5)(list(data)))
    for first, second in zip(*batches, strict=True):
        assert first.dtype == second.dtype == torch.float32
        assert torch.equal(first, second)
    assert batches[0][1].max() > 0

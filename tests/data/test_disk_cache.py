# SPDX-License-Identifier: Apache-2.0
import logging
import os
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityd

from monai_ronas.data import read_msd
from monai_ronas.data.compact import CompactCase
from monai_ronas.data.disk_cache import DiskCache

MAPS = Path("/proc/self/maps")
KEYS = ("image", "label")


def transform(high: float = 1.0) -> Compose:
    return Compose(
        [
            LoadImaged(keys=KEYS, ensure_channel_first=True),
            Orientationd(keys=KEYS, axcodes="RAS", labels=None),
            ScaleIntensityd(keys="image", maxv=high),
            CompactCase(),
        ]
    )


@pytest.fixture
def data(phantom):
    return [{"image": str(case.image), "label": str(case.label)} for case in read_msd(phantom).cases[:3]]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def equal(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_items_are_those_of_the_transforms(data, folder):
    dataset = DiskCache(data, transform(), cache_dir=folder)
    assert dataset.missing() == [0, 1, 2]
    for index, case in enumerate(data):
        item = dataset[index]
        assert equal(item, transform()(case))
        assert (item["image"].dtype, item["label"].dtype) == (torch.float32, torch.uint8)
    assert dataset.missing() == []
    assert sorted(folder.iterdir()) == sorted(dataset.files)


def test_a_second_data_set_reads_no_volume(data, folder, monkeypatch):
    expected = list(DiskCache(data, transform(), cache_dir=folder))
    monkeypatch.setattr(LoadImaged, "__call__", None)
    again = DiskCache(data[::-1], transform(), cache_dir=folder)
    assert again.missing() == []
    assert all(equal(item, other) for item, other in zip(again, expected[::-1], strict=True))


def test_a_case_that_occurs_twice_has_one_file(data, folder):
    dataset = DiskCache([*data, data[0]], transform(), cache_dir=folder)
    assert dataset.missing() == [0, 1, 2]
    assert dataset.files[0] == dataset.files[3]


def test_other_files_and_other_transforms_have_other_names(data, folder):
    before = DiskCache(data, transform(), cache_dir=folder).files
    assert not set(DiskCache(data, transform(2), cache_dir=folder).files) & set(before)
    state = os.stat(data[1]["label"])
    os.utime(data[1]["label"], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    after = DiskCache(data, transform(), cache_dir=folder).files
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.skipif(not MAPS.exists(), reason="needs Linux")
def test_a_file_is_mapped_as_long_as_its_item_lives(data, folder):
    dataset = DiskCache(data, transform(), cache_dir=folder)
    items = [dataset[index] for index in range(3)]
    assert all(str(file) in MAPS.read_text() for file in dataset.files)
    crop = items.pop(0)["image"][:, 2:5]
    items.clear()
    assert [str(file) in MAPS.read_text() for file in dataset.files] == [True, False, False]
    assert torch.equal(crop, transform()(data[0])["image"][:, 2:5])


def test_writing_into_an_item_does_not_reach_the_file(data, folder):
    dataset = DiskCache(data, transform(), cache_dir=folder)
    dataset[0]["image"].fill_(-1)
    assert equal(dataset[0], transform()(data[0]))


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "no dictionary"])
def test_a_damaged_file_is_made_again(data, folder, damage, caplog):
    dataset = DiskCache(data, transform(), cache_dir=folder)
    expected = {key: value.clone() for key, value in dataset[0].items()}
    file = dataset.files[0]
    content = file.read_bytes()
    if damage == "no dictionary":
        torch.save([1, 2], file)
    else:
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "noise": b"noise" * 999}[damage])
    with caplog.at_level(logging.WARNING):
        assert equal(dataset[0], expected)
    assert "is damaged" in caplog.text
    assert file.read_bytes() == content


def test_the_folder_may_be_deleted_at_any_time(data, folder):
    dataset = DiskCache(data, transform(), cache_dir=folder)
    first = dataset[0]
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert equal(first, transform()(data[0]))
    assert equal(dataset[0], first)


def test_the_transforms_that_are_given_are_not_touched(data, folder):
    steps = transform()
    files = DiskCache(data, steps, cache_dir=folder).files
    assert DiskCache(data, steps, cache_dir=folder)[0]
    assert DiskCache(data, steps, cache_dir=folder).files == files

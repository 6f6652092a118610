# SPDX-License-Identifier: Apache-2.0
"""Cases that stay on a device; torch's device without values stands for the GPU."""

import pytest
import torch

from monai_ronas.data import build_dataset, read_msd
from monai_ronas.data.disk_cache import DiskCache
from monai_ronas.data.resident import ResidentDataset
from monai_ronas.engines import PatchBatch
from monai_ronas.networks.nets import RonasSuperNet
from tests.data.test_caching import LOAD
from tests.toys import toy_cases, toy_space

GB_OF_A_CASE = 2 * 4 * 16 * 16 * 8 / 2**30


def test_what_fits_stays_and_the_rest_is_given_as_it_is():
    cases = toy_cases(3)
    resident = ResidentDataset(cases, "meta", most_gb=2.5 * GB_OF_A_CASE)
    places = [resident[index]["image"].device.type for index in (2, 0, 1, 0)]
    assert places == ["meta", "meta", "cpu", "meta"]
    assert resident.number == 2
    assert len(resident) == 3
    assert resident[0]["image"] is resident[0]["image"]
    assert resident[0]["label"].device.type == "meta"
    assert torch.equal(resident[0]["label_class_indices"], cases[0]["label_class_indices"])
    assert resident[1] is cases[1]
    assert cases[0]["image"].device.type == "cpu"


def test_a_device_that_is_full_keeps_what_it_has(monkeypatch):
    resident = ResidentDataset(toy_cases(3), "cpu", most_gb=1.0)
    resident[0]

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.Tensor, "to", full)
    assert resident[1]["image"].shape == (1, 16, 16, 8)
    monkeypatch.undo()
    assert resident[2]["image"].shape == (1, 16, 16, 8)
    assert resident.number == 1


def test_other_errors_are_told(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    resident = ResidentDataset(toy_cases(1), "cpu", most_gb=1.0)
    monkeypatch.setattr(torch.Tensor, "to", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        resident[0]


def test_crops_are_the_same_and_are_cut_without_a_look_at_the_devices_values():
    network = RonasSuperNet(toy_space(), 1, 2, channels=(2, 3, 4))
    cases = toy_cases(2, shape=(20, 24, 10))
    plain, same, elsewhere = (
        PatchBatch(network, batch_size=4, foreground=0.5, seed=3)(items, device=device)
        for items, device in (
            (cases, "cpu"),
            ([*ResidentDataset(cases, "cpu", most_gb=1.0)], "cpu"),
            ([*ResidentDataset(cases, "meta", most_gb=1.0)], "meta"),  # where reading a value is an error
        )
    )
    for expected, found, place in zip(plain, same, elsewhere, strict=True):
        assert torch.equal(expected, found)
        assert place.device.type == "meta"
        assert place.shape == expected.shape


def test_only_a_gpu_keeps_cases(phantom, tmp_path):
    cases = read_msd(phantom).cases[:2]
    for device, gb, kind in (("cpu", 1.0, DiskCache), ("cuda:0", 0.0, DiskCache), ("cuda:0", 1.0, ResidentDataset)):
        dataset = build_dataset(cases, LOAD, cache_dir=tmp_path, device=device, device_gb=gb)
        assert type(dataset) is kind
        assert len(dataset) == 2

# SPDX-License-Identifier: Apache-2.0
"""Volumes that cannot be segmented are left out and told."""

import pytest

from monai_ronas.bundle import SoundVolumes
from monai_ronas.data import DatasetError, VolumeError


def test_another_error_is_no_fault_of_a_volume(caplog):
    def broken(item):
        raise RuntimeError("a bug")

    volumes = SoundVolumes([{"image": "a.nii"}], broken)
    with pytest.raises(RuntimeError, match="a bug"):
        volumes.begin()
    assert "in 'a.nii':" in caplog.text


@pytest.mark.parametrize("cause", [MemoryError("no memory"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_memory_that_does_not_suffice_for_a_volume_is_told(cause):
    def wrapped(item):
        if item["image"] == "b.nii":
            raise RuntimeError("applying transform") from cause
        return item

    volumes = SoundVolumes([{"image": f"{name}.nii"} for name in "abc"], wrapped)
    volumes.begin()
    assert [item["image"] for item in volumes] == ["a.nii", "c.nii"]
    with pytest.raises(DatasetError, match=r"1 of 3 .*'b.nii': the memory does not suffice"):
        volumes.end()


def test_an_iteration_without_a_beginning_has_all_items():
    def some(item):
        if item["image"] == "a.nii":
            raise VolumeError("'a.nii': no")
        return item["image"]

    volumes = SoundVolumes([{"image": f"{name}.nii"} for name in "abc"], some)
    volumes.begin()
    for _ in range(2):
        assert list(volumes) == ["b.nii", "c.nii"]
        assert volumes.left_out == ["'a.nii': no"]

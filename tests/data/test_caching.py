# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest
import torch
from monai.transforms import Compose, LoadImaged

from monai_ronas.data import build_dataset, read_msd


def case_gb(phantom: Path, name: str) -> float:
    return 2 * 4 * nib.load(phantom / "imagesTr" / f"{name}.nii.gz").get_fdata().size / 1024**3


@pytest.mark.parametrize("memory_gb", [None, 0, "two cases"])
def test_caches_what_fits_and_gives_all(phantom: Path, memory_gb):
    cases = read_msd(phantom).cases
    expected = {None: len(cases), 0: 0, "two cases": 2}[memory_gb]
    if memory_gb == "two cases":
        memory_gb = sum(case_gb(phantom, case.name) for case in cases[:2])
    transform = Compose([LoadImaged(keys=("image", "label"), ensure_channel_first=True)])
    dataset = build_dataset(cases, transform, memory_gb=memory_gb)
    assert dataset.cache_num == expected
    assert len(dataset) == len(cases)
    for case, item in zip(cases, dataset, strict=True):
        assert torch.equal(item["image"][0].as_tensor(), torch.from_numpy(nib.load(case.image).get_fdata()).float())
        assert torch.equal(item["label"][0].as_tensor(), torch.from_numpy(nib.load(case.label).get_fdata()).float())


def test_negative_memory(phantom: Path):
    with pytest.raises(ValueError, match="memory_gb must be None or at least 0, received -1"):
        build_dataset(read_msd(phantom).cases, Compose([]), memory_gb=-1)

# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from monai.data import NumpyReader
from monai.transforms import Compose, LoadImaged, Orientationd, ScaleIntensityd, Spacingd

from monai_ronas.data import LoadVolumed
from monai_ronas.data.identity import described, files_hash, transform_hash

KEYS = ("image", "label")


def transform(high: float = 1.0, pixdim: tuple[float, ...] = (1.0, 1.0, 2.0)) -> Compose:
    return Compose(
        [
            LoadImaged(keys=KEYS, ensure_channel_first=True),
            Orientationd(keys=KEYS, axcodes="RAS", labels=None),
            Spacingd(keys=KEYS, pixdim=pixdim, mode=["bilinear", "nearest"]),
            ScaleIntensityd(keys="image", maxv=high),
        ]
    )


def test_the_hash_of_transforms_follows_their_settings():
    settings = [{}, {"high": 2.0}, {"pixdim": (1.0, 1.0, 2.5)}]
    assert len({transform_hash(transform(**given).transforms) for given in settings * 2}) == 3
    assert transform_hash(transform().transforms[:-1]) != transform_hash(transform().transforms)


def test_one_device_is_described_as_another_alike():
    assert described([torch.device("cuda:0")]) == described([torch.device("cuda:1")]) == ["cuda"]


def test_the_hash_of_functions_follows_what_they_do():
    def adding(number):
        return lambda volume: volume + number

    functions = [
        *(
            str.strip,
            str.lower,
            np.add,
            lambda volume: volume + 1,
            lambda volume: volume + 2,
            lambda volume: volume - 1,
        ),
        *(adding(1), adding(2), partial(pow, 2), partial(pow, 3)),
    ]
    assert len({transform_hash([function]) for function in functions}) == len(functions)
    assert transform_hash([adding(1)]) == transform_hash([adding(1)])


def test_the_hash_of_transforms_does_not_depend_on_the_process():
    text = (
        "from tests.data.test_identity import transform, transform_hash;"
        "print(transform_hash(transform().flatten().transforms))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == transform_hash(transform().flatten().transforms)


def test_the_hash_of_files_follows_path_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12")
    os.utime(path, ns=(0, 5))
    seen = {files_hash({"image": str(path)}), files_hash({"image": str(path)})}
    assert len(seen) == 1
    os.utime(path, ns=(0, 6))
    seen.add(files_hash({"image": str(path)}))
    path.write_bytes(b"123")
    os.utime(path, ns=(0, 5))
    seen.add(files_hash({"image": str(path)}))
    other = tmp_path / "b"
    other.write_bytes(b"12")
    os.utime(other, ns=(0, 5))
    seen |= {
        files_hash({"image": str(other)}),
        files_hash({"label": str(path)}),
        files_hash({"image": str(path)}, ["s"]),
    }
    assert len(seen) == 6
    (tmp_path / "link").symlink_to(other)
    assert files_hash({"image": str(tmp_path / "link")}) == files_hash({"image": str(other)})


@pytest.mark.parametrize("readers", [{}, {"numpyreader": NumpyReader}])
def test_the_hash_of_loading_does_not_depend_on_the_packages_that_are_there(monkeypatch, readers):
    """MONAI's loader takes a reader for every package that is installed, pydicom for one."""
    before = transform_hash([LoadVolumed("image")])
    monkeypatch.setattr("monai.transforms.io.array.SUPPORTED_READERS", readers)
    assert transform_hash([LoadVolumed("image")]) == before

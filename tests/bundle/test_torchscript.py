# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import zipfile

import pytest
import torch
from monai.data import load_net_with_metadata

from monai_ronas.bundle.torchscript import write_torchscript
from monai_ronas.networks.nets import RonasUNet


@pytest.mark.parametrize("name", ["model.ts", "another.ts"])
def test_the_archive_has_the_files_name_and_the_network_with_what_it_carries(tmp_path, name):
    torch.manual_seed(0)
    network = RonasUNet(3, 1, 2, channels=(4, 8), strides=(1, 2), dilations=(1, 1), deep_supervision=False).eval()
    told, inference = {"version": "0.1.0", "labels": ["ä"]}, {"device": "cpu"}
    write_torchscript(tmp_path / name, network, metadata=told, inference=inference)
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert archive.testzip() is None
        assert {entry.partition("/")[0] for entry in archive.namelist()} == {name.removesuffix(".ts")}
    loaded, metadata, others = load_net_with_metadata(str(tmp_path / name), more_extra_files=("inference.json",))
    assert metadata == told
    assert json.loads(others["inference.json"]) == inference
    image = torch.randn(1, 1, 8, 8, 6)
    with torch.no_grad():
        assert torch.equal(loaded(image), network(image))
    assert [path.name for path in tmp_path.iterdir()] == [name]

# SPDX-License-Identifier: Apache-2.0
"""``inference.json`` on an image that another program has read already, as MONAI Deploy hands it over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from monai_ronas.bundle.configs import Derived
from monai_ronas.bundle.inference_config import inference_config
from monai_ronas.data import LoadVolumed, VolumeError
from monai_ronas.data.reading import read_volume
from tests.bundle.small_volumes import FINGERPRINT, volume
from tests.volume_files import orthogonal, write


def test_it_is_segmented_as_its_file_is_and_nothing_is_written(tmp_path):
    """The steps of the SDK's operator: preprocessing, network, postprocessing, each taken from the configuration."""
    affine = orthogonal()
    path = write(tmp_path / "in" / "a.mha", np.rint(100 * volume()).astype(np.int16), affine)
    network = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": (4, 8), "strides": ((1, 1, 1),) * 2}
    derived = Derived(
        {**network, "dilations": (1, 1), "deep_supervision": False},
        (1, 1, 1),
        (4, 4, 4),
        10**6,
        FINGERPRINT,
        batch_size=1,
        amp=False,
        flip_axes=(),
        test_time_flips=False,
    )
    config = {**inference_config(derived), "device": "cpu", "output_dir": str(tmp_path / "out")}
    parser = ConfigParser(config)
    torch.manual_seed(0)
    before, net, inferer, after = (
        parser.get_parsed_content(key) for key in ("preprocessing", "network_def", "inferer", "postprocessing")
    )
    head = net.heads[0]
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.0, 0.1]))
    voxels, read = read_volume([path])
    meta = {"affine": torch.from_numpy(read), "original_channel_dim": "no_channel", "space": "RAS"}
    found = []
    for image in (str(path), MetaTensor(torch.from_numpy(voxels), meta=meta)):
        item = before({"image": image})
        with torch.no_grad():
            item["pred"] = inferer(item["image"][None], net.eval())[0]
        found.append(after(item)["pred"])
        assert (tmp_path / "out").exists() is isinstance(image, str)
        if isinstance(image, str):
            (tmp_path / "out").rename(tmp_path / "first")
    assert torch.equal(found[1].as_tensor(), found[0].as_tensor())
    assert 0 < found[1].sum() < found[1].numel()
    np.testing.assert_allclose(found[1].affine, found[0].affine)


@pytest.mark.parametrize("image", [np.zeros((4, 5, 6)), torch.zeros(4, 5, 6), MetaTensor(torch.zeros(4, 5, 6))])
def test_one_that_does_not_tell_its_axis_of_channels_is_refused(image):
    with pytest.raises(VolumeError, match="the image in memory does not tell its axis of channels: give a"):
        LoadVolumed("image")({"image": image})

# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch

from monai_ronas.networks.nets import RonasUNet
from monai_ronas.resources import inference_bytes, one_shot_voxels
from monai_ronas.space import RonasSpace
from tests.live_tensors import LiveTensors


@pytest.mark.parametrize("shape", [(64, 64, 32), (48, 64, 16), (96, 80)])
@pytest.mark.parametrize("seed", range(5))
def test_estimate_is_close_to_what_lives_during_inference(shape, seed):
    space = RonasSpace(shape)
    architecture = space.sample(random.Random(seed))
    widths = {"channels": (8, 12, 16, 24), "in_channels": 2, "out_channels": 4}
    net = RonasUNet(len(shape), **space.network_kwargs(architecture), **widths, deep_supervision=False).eval()
    with torch.no_grad(), LiveTensors() as live:
        image = torch.zeros(1, 2, *shape).contiguous(
            memory_format=torch.channels_last if len(shape) == 2 else torch.channels_last_3d
        )
        net(image)
    assert inference_bytes(space, architecture, size=shape, **widths) == pytest.approx(live.peak, rel=0.1)


def test_one_shot_voxels_are_what_the_memory_holds():
    space = RonasSpace((64, 64, 64))
    widths = {"channels": (16, 32, 64, 128), "in_channels": 1, "out_channels": 3}
    voxels = one_shot_voxels(space, memory_gb=2.0, **widths)
    assert voxels == pytest.approx(2 * one_shot_voxels(space, memory_gb=1.0, **widths), abs=2)
    side = round(voxels ** (1 / 3))
    assert inference_bytes(space, space.largest, size=(side,) * 3, **widths) == pytest.approx(2 * 2**30, rel=0.02)

# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_ronas.networks.nets import RonasUNet
from monai_ronas.resources import forward_macs
from monai_ronas.space import RonasSpace


@pytest.mark.parametrize("shape", [(32, 32, 32), (40, 40, 12), (48, 64)])
@pytest.mark.parametrize("seed", range(4))
def test_counted_as_torch_counts(shape, seed):
    space = RonasSpace(shape)
    architecture = space.sample(random.Random(seed))
    widths = {"channels": (3, 5, 7, 9), "in_channels": 2, "out_channels": 4}
    net = RonasUNet(len(shape), **space.network_kwargs(architecture), **widths, deep_supervision=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 2, *space.patch(architecture)))
    assert forward_macs(space, architecture, **widths) * 2 == counter.get_total_flops()

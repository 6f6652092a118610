# SPDX-License-Identifier: Apache-2.0
"""Children of other widths and resolutions on shared weights."""

import copy
import random

import pytest
import torch

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.optimizers import Muon, keep_unused
from monai_ronas.space import RonasSpace


@pytest.fixture(scope="module")
def wide():
    torch.manual_seed(3)
    space = RonasSpace((32, 32, 32), searched_strides=(1, 2, 3, 4), widths=(1, 0.5, 1.5), patch_ratio=0.5, min_cells=2)
    return RonasSuperNet(space, 2, 3, channels=(8, 12, 16, 24))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_every_width_and_resolution_is_the_derived_network_bit_for_bit(wide, layout):
    net = copy.deepcopy(wide).to(memory_format=layout).eval()
    image = torch.randn(2, 2, 32, 32, 32).contiguous(memory_format=layout)
    for seed in range(6):
        architecture = net.space.sample(random.Random(seed)).replace(
            width=(1, 0.5, 1.5)[seed % 3], stride_1=((1, 1, 1), (2, 2, 2))[seed // 3]
        )
        net.select(architecture)
        derived = net.derive(architecture).to(memory_format=layout).eval()
        channels = {1: 8, 0.5: 4, 1.5: 12}[architecture["width"]]
        assert derived.encoder[0].conv1.conv.weight.shape[0] == channels
        with torch.no_grad():
            assert torch.equal(net(image), derived(image))


@pytest.mark.parametrize("make", [lambda p: Muon(p, lr=0.01), lambda p: torch.optim.AdamW(p, lr=0.01)])
def test_what_a_narrow_child_does_not_use_does_not_move(wide, make):
    """Neither by its gradient nor by what the optimiser remembers of wider ones."""
    net = copy.deepcopy(wide).train()
    optimizer = make(net.parameters())
    keep_unused(optimizer)

    def step(architecture):
        net.select(architecture)
        optimizer.zero_grad(set_to_none=True)
        sum(level.square().mean() for level in net(torch.randn(1, 2, 32, 32, 32))).backward()
        optimizer.step()

    step(net.space.base.replace(width=1.5))
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    memory = copy.deepcopy({name: optimizer.state[weight] for name, weight in net.named_parameters()})
    narrow = net.space.base.replace(width=0.5)
    step(narrow)
    shapes = {name: weight.shape for name, weight in net.derive(narrow).named_parameters()}
    for name, weight in net.named_parameters():
        used = torch.zeros_like(weight, dtype=torch.bool)
        if name in shapes:
            used[tuple(slice(size) for size in shapes[name])] = True
        assert torch.equal(weight[~used], before[name][~used]), name
        if used.any() and name.endswith("conv.weight"):
            assert not torch.equal(weight[used], before[name][used]), name
        for key, value in optimizer.state[weight].items():
            if value.shape == weight.shape:
                assert torch.equal(value[~used], memory[name][key][~used]), (name, key)


def test_a_narrow_child_moves_as_its_derived_network(wide):
    net = copy.deepcopy(wide).train()
    narrow = net.space.base.replace(width=0.5)
    net.select(narrow)
    derived = net.derive(narrow).train()
    image = torch.randn(1, 2, 32, 32, 32)
    for network in (net, derived):
        optimizer = Muon(network.parameters(), lr=0.01)
        keep_unused(optimizer)
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            network(image)[0].square().mean().backward()
            optimizer.step()
    after = net.derive(narrow).state_dict()
    for name, weight in derived.state_dict().items():
        torch.testing.assert_close(after[name], weight, rtol=1e-4, atol=1e-6)


def test_weights_of_a_derived_network_go_back_into_their_part(wide):
    net = copy.deepcopy(wide)
    narrow = net.space.base.replace(width=0.5)
    before = net.state_dict()["encoder.0.conv2.conv.weight"].clone()
    weights = {name: torch.full_like(w, 7.0) for name, w in net.derive(narrow).state_dict().items()}
    net.take(weights)
    after = net.state_dict()["encoder.0.conv2.conv.weight"]
    assert (after[:4, :4] == 7).all()
    assert torch.equal(after[4:], before[4:])
    assert torch.equal(after[:4, 4:], before[:4, 4:])


def test_widths_want_an_instance_normalisation():
    space = RonasSpace((32, 32, 32), widths=(1, 0.5))
    with pytest.raises(ValueError, match="norm must be an instance normalisation"):
        RonasSuperNet(space, 1, 2, channels=(8, 8, 8, 8), norm="BATCH")

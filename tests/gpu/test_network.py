# SPDX-License-Identifier: Apache-2.0
"""A card computes what a CPU does."""

import copy

import pytest
import torch
from monai.losses import DiceCELoss

from monai_ronas.engines import PatchBatch
from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks import PadToStrideInferer, inferer
from monai_ronas.networks.blocks.instance_norm import ChannelsLastInstanceNorm
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.optimizers import Muon
from tests.toys import toy_cases, toy_slices, toy_space

LAYOUT = torch.channels_last_3d


def step(network, image, label, *, amp=False):
    """The levels and the gradients of a training step, on the CPU."""
    network.train().zero_grad(set_to_none=True)
    levels = PadToStrideInferer(amp=amp)(image, network)
    AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True))(levels, label).backward()
    return [level.detach().cpu() for level in levels], [weight.grad.cpu() for weight in network.parameters()]


def batch(device):
    """Of a CPU, a smaller one where it is for a CPU alone."""
    size, generator = 32 if device.type == "cuda" else 16, torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, size, size, size, generator=generator).contiguous(memory_format=LAYOUT)
    return image, (image.roll(1, 2) > 0.5).float()


def network(**kwargs):
    torch.manual_seed(0)
    return RonasUNet(3, 1, 2, channels=(8, 16, 24, 32), **kwargs).to(memory_format=LAYOUT)


def distance(found, expected):
    """Of tensors, relative to the length of what is expected."""
    found, expected = (torch.cat([part.flatten() for part in parts]) for parts in (found, expected))
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("strides", [(1, 2, 2, 2), (2, 2, 2, (2, 2, 1))])
def test_a_training_step_in_float32_is_that_of_a_cpu(device, exact, strides, record_property):
    ours, (image, label) = network(strides=strides), batch(device)
    expected = step(ours, image, label)
    found = step(copy.deepcopy(ours).to(device), image.to(device), label.to(device))
    for what, one, other in zip(("outputs", "gradients"), found, expected, strict=True):
        record_property(f"distance of {what} in float32, strides {strides}", distance(one, other))
        assert distance(one, other) < 1e-3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_training_step_in_16_bits_is_near_it(device, exact, kind, monkeypatch, record_property):
    monkeypatch.setattr(inferer, "half_type", lambda where: kind)
    ours, (image, label) = network(), batch(device)
    expected, _ = step(ours, image, label)
    found, gradients = step(copy.deepcopy(ours).to(device), image.to(device), label.to(device), amp=True)
    record_property(f"distance of outputs in {kind}", distance(found, expected))
    assert distance(found, expected) < 0.1
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_normalisations_get_and_keep_the_layout_of_the_convolutions(device):
    ours, layouts = network().to(device), []

    def note(module, inputs, output):
        layouts.extend(each.is_contiguous(memory_format=LAYOUT) for each in (inputs[0], output))

    for module in ours.modules():
        if isinstance(module, ChannelsLastInstanceNorm):
            module.register_forward_hook(note)
    image, label = batch(device)
    step(ours, image.to(device), label.to(device))
    assert layouts == [True] * 28


def test_muons_step_is_that_of_a_cpu(device, record_property):
    ours, (image, label) = network(), batch(device)
    theirs = copy.deepcopy(ours).to(device)
    step(ours, image, label)
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.grad = weight.grad.to(device)
    for each in (ours, theirs):
        Muon(each.parameters(), lr=0.02).step()
    apart = distance([weight.detach().cpu() for weight in theirs.parameters()], [*ours.parameters()])
    record_property("distance of weights after a step of Muon", apart)
    assert apart < 1e-4


def test_windows_and_flips_are_those_of_a_cpu(device, exact):
    ours, image = network().eval(), torch.randn(1, 1, 41, 30, 27, generator=torch.Generator().manual_seed(2))
    for kwargs in ({}, {"flips": (0, 2)}, {"max_voxels": 0}, {"max_voxels": 0, "sw_batch_size": 4}):
        run = PadToStrideInferer(roi_size=(24, 24, 24), **kwargs)
        with torch.no_grad():
            expected = run(image, ours)
            found = run(image.to(device), copy.deepcopy(ours).to(device))
        assert found.device == device
        assert distance([found.cpu()], [expected]) < 1e-3, kwargs


def test_crops_of_resident_cases_are_those_of_a_cpu(device):
    net = RonasSuperNet(toy_space(), 1, 2, channels=(2, 3, 4))
    cases = toy_cases(2, shape=(20, 24, 10))
    resident = [{**c, "image": c["image"].to(device), "label": c["label"].to(device)} for c in cases]
    expected, found = (PatchBatch(net, batch_size=4, seed=5)(items, device=device) for items in (cases, resident))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_float16_trains_with_a_scaled_loss(device, monkeypatch):
    monkeypatch.setattr(inferer, "half_type", lambda where: torch.float16)
    slices, losses = toy_slices(slice_steps=30 if device.type == "cuda" else 3, device=device, amp=True), []
    slices.trainer.inferer = PadToStrideInferer(amp=True)
    for _ in range(2):
        slices.run(lambda: slices.network.space.base)
        losses.append(slices.trainer.state.output["loss"].item())
    assert losses[1] < losses[0]
    assert slices.scaler.get_scale() >= 1

# SPDX-License-Identifier: Apache-2.0
"""Predictions that are averaged over flips and quarter turns."""

import itertools
import logging

import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasUNet
from tests.measured_memory import LiveTensors


@pytest.mark.parametrize("shape", [(13, 9, 7), (10, 11)])
def test_flips_are_averaged(shape):
    torch.manual_seed(0)
    volume = torch.randn(2, 1, *shape)

    def network(x):
        ramp = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, *(1,) * (len(shape) - 1))
        return torch.cat([x * ramp, x], dim=1)  # the other way round, it is the other way round

    plain = PadToStrideInferer((1,) * len(shape))
    flipped = PadToStrideInferer((1,) * len(shape), flips=range(len(shape)))(volume, network)
    expected = plain(volume, network).softmax(1) / 2 + plain(volume.flip(2), network).flip(2).softmax(1) / 2
    assert flipped.shape == (2, 2, *shape)
    assert not torch.allclose(plain(volume, network).softmax(1), expected, atol=1e-3)
    assert torch.allclose(flipped.exp(), expected, atol=1e-6)
    along_another = PadToStrideInferer((1,) * len(shape), flips=[1])
    assert along_another.runs == 2
    assert torch.allclose(along_another(volume, network).exp(), plain(volume, network).softmax(1), atol=1e-6)


def test_turns_by_quarters_are_averaged():
    torch.manual_seed(0)
    net = RonasUNet(3, 1, 3, channels=(2, 4), strides=(1, 2), dilations=(1, 1)).eval()
    segment = PadToStrideInferer(flips=(0, 1), transposed_axes=(0, 1))
    assert segment.runs == 8
    volume = torch.randn(1, 1, 12, 8, 6)
    with torch.no_grad():
        found = segment(volume, net)
        total = 0
        for quarters, flip in itertools.product(range(4), ([], [3])):
            turned = PadToStrideInferer()(volume.flip(flip).rot90(quarters, (2, 3)), net)
            total = total + turned.softmax(1).rot90(-quarters, (2, 3)).flip(flip)
        assert torch.allclose(found, (total / 8).log(), atol=1e-5)
        assert torch.allclose(segment(volume.rot90(1, (2, 3)), net), found.rot90(1, (2, 3)), atol=1e-5)
        alone = PadToStrideInferer(transposed_axes=(0, 2))(volume, net)
    assert alone.shape == (1, 3, 12, 8, 6)
    assert not torch.allclose(alone, found)


def flipped_mean(volume, network, flips=(0, 1, 2)):
    total = 0.0
    for k in range(len(flips) + 1):
        for axes in itertools.combinations(flips, k):
            dims = [a + 2 for a in axes]
            total = total + network(volume.flip(dims)).softmax(1).flip(dims)
    return total / 2 ** len(flips)


def pointwise():
    ramp = torch.linspace(-2, 2, 13).view(1, 1, 13, 1, 1)
    return lambda x: torch.cat([x * ramp, x.sin(), x], dim=1)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory."), MemoryError()])
@pytest.mark.parametrize("fails_at", [1, 5, 13])
def test_the_sum_over_flips_goes_on_where_the_memory_of_the_device_is_short(monkeypatch, caplog, error, fails_at):
    volume = torch.randn(1, 1, 13, 6, 5)
    expected = flipped_mean(volume, pointwise())
    softmax, calls = torch.Tensor.softmax, []

    def short(self, dim):
        calls.append(dim)
        if len(calls) == fails_at:
            raise error
        return softmax(self, dim)

    monkeypatch.setattr(torch.Tensor, "softmax", short)
    with caplog.at_level(logging.WARNING):
        prediction = PadToStrideInferer((1, 1, 1), flips=(0, 1, 2))(volume, pointwise())
    torch.testing.assert_close(prediction.exp(), expected)
    assert "sum over flips: going on on the CPU" in caplog.text


def test_an_error_that_is_not_one_of_memory_is_not_swallowed(monkeypatch):
    def broken(self, dim):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(torch.Tensor, "softmax", broken)
    with pytest.raises(RuntimeError, match="no such kernel"):
        PadToStrideInferer((1, 1, 1), flips=(0,))(torch.randn(1, 1, 13, 6, 5), pointwise())


def test_flips_keep_the_volume_a_prediction_and_the_sum():
    network = torch.nn.Conv3d(1, 20, 1).eval()
    volume = torch.randn(1, 1, 32, 32, 32)
    with LiveTensors() as live, torch.no_grad():
        PadToStrideInferer((1, 1, 1), flips=(0, 1, 2))(volume, network)
    prediction = 20 * volume.numel() * 4
    assert live.peak < 2.5 * prediction  # the volume and its flipped copy, a prediction, the sum, a slab of eight


@pytest.mark.parametrize("flips", [(), (1,)])
def test_the_prediction_of_a_meta_tensor_keeps_its_affine(flips):
    volume = MetaTensor(torch.randn(1, 1, 13, 6, 5), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
    prediction = PadToStrideInferer((1, 1, 1), flips=flips)(volume, pointwise())
    assert torch.equal(prediction.affine, volume.affine)
    assert prediction.shape == (1, 3, 13, 6, 5)

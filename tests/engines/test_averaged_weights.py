# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch import nn

from monai_ronas.engines.averaged_weights import AveragedWeights, on_cpu


def walk(average, network, values):
    """Give the network one weight after the other."""
    for value in values:
        with torch.no_grad():
            network.weight.fill_(value)
        average.update()


def averaged(average, network):
    with average.used():
        return network.weight[0, 0].item()


def test_late_steps_count_most():
    network = nn.Linear(1, 1)
    average = AveragedWeights(network)
    average.start()
    values = [4.0, 1.0, 3.0, 2.0, 8.0]
    expected = 0.0
    for number, value in enumerate(values, 1):
        walk(average, network, [value])
        expected += (value - expected) * 9 / (number + 8)  # the first weights as they are
        assert averaged(average, network) == pytest.approx(expected, rel=1e-5)
    assert network.weight[0, 0].item() == 8.0


def test_long_ago_is_forgotten():
    network = nn.Linear(1, 1)
    average = AveragedWeights(network)
    average.start()
    walk(average, network, [100.0] * 20 + [1.0] * 400)
    assert averaged(average, network) == pytest.approx(1.0, abs=1e-3)


def test_own_weights_and_buffers_come_back_whatever_happens():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = AveragedWeights(network)
    average.start()
    average.update()
    with torch.no_grad():
        network[0].weight.add_(1.0)
    network(torch.randn(4, 2))
    own = copy.deepcopy(network.state_dict())

    def break_off():
        with average.used():
            assert not torch.equal(network[0].weight, own["0.weight"])
            raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        break_off()
    assert all(torch.equal(value, own[name]) for name, value in network.state_dict().items())


def test_without_a_start_there_is_no_average():
    network = nn.Linear(1, 1)
    average = AveragedWeights(network)
    walk(average, network, [1.0, 2.0])
    assert averaged(average, network) == 2.0
    assert average.state_dict() == {}
    average.start()
    walk(average, network, [1.0, 2.0])
    assert averaged(average, network) < 2.0
    average.stop()
    assert averaged(average, network) == 2.0
    assert average.state_dict() == {}


def test_a_state_goes_on_where_it_was_and_does_not_follow_what_comes_after():
    network = nn.Linear(1, 1)
    average = AveragedWeights(network)
    average.start()
    walk(average, network, [4.0, 1.0, 3.0])
    state = on_cpu(average.state_dict())
    walk(average, network, [7.0, 5.0])
    expected = averaged(average, network)
    other = AveragedWeights(nn.Linear(1, 1))
    other.load_state_dict(state)
    walk(other, other.network, [7.0, 5.0])
    assert averaged(other, other.network) == expected
    other.load_state_dict({})
    assert averaged(other, other.network) == 5.0


def test_a_copy_on_the_cpu_is_one_of_everything():
    tensor = torch.ones(2)
    state = {"a": [tensor, (tensor, 3)], "b": {"c": tensor, "d": "word"}}
    copied = on_cpu(state)
    tensor.zero_()
    assert copied["a"][0].tolist() == copied["a"][1][0].tolist() == copied["b"]["c"].tolist() == [1.0, 1.0]
    assert (copied["a"][1][1], copied["b"]["d"], type(copied["a"][1])) == (3, "word", tuple)

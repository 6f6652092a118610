# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.networks import MemberInferer, PadToStrideInferer, entropy
from monai_ronas.networks.nets import RonasUNet
from monai_ronas.networks.window_slabs import sum_bytes
from tests.measured_memory import LiveTensors

SHAPE = (1, 1, 7, 8, 6)


def network(seed=0, classes=3):
    torch.manual_seed(seed)
    return RonasUNet(3, 1, classes, channels=(2, 3), strides=(1, 2), dilations=(1, 1), deep_supervision=False).eval()


def volume():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))


def probabilities(net, inferer, image):
    with torch.no_grad():
        return inferer.one_run(image, net).softmax(dim=1)


def test_without_members_it_is_the_inferer_bit_for_bit():
    net, inferer = network(), PadToStrideInferer(flips=(0, 2), transposed_axes=(0, 1))
    ensemble = MemberInferer(inferer)
    with torch.no_grad():
        assert torch.equal(ensemble(volume(), net), inferer(volume(), net))
    assert ensemble.runs == inferer.runs == 8
    assert ensemble.mutual_information.shape == SHAPE


def test_the_mean_of_members_and_what_they_disagree_in():
    net, other = network(0), network(1)
    own = {name: weight.clone() for name, weight in net.state_dict().items()}
    inferer = PadToStrideInferer()
    ensemble = MemberInferer(inferer, [other.state_dict()])
    with torch.no_grad():
        found = ensemble(volume(), net)
    parts = [probabilities(n, inferer, volume()) for n in (net, other)]
    mean = sum(parts) / 2
    torch.testing.assert_close(found.exp(), mean)
    by_hand = -(mean * mean.log()).sum(1) + sum((p * p.log()).sum(1) for p in parts) / 2
    torch.testing.assert_close(ensemble.mutual_information[:, 0], by_hand, atol=1e-6, rtol=1e-4)
    assert float(ensemble.mutual_information.max()) > 1e-3
    assert all(torch.equal(weight, own[name]) for name, weight in net.state_dict().items())


@pytest.mark.parametrize(("members", "runs", "own"), [(0, 4, 4), (1, 4, 2), (3, 4, 1), (5, 6, 1)])
def test_members_share_the_flips(members, runs, own):
    net = network()
    seen = []
    net.register_forward_hook(lambda module, inputs, outputs: seen.append(float(module.heads[0].bias[0].detach())))
    states = [{**net.state_dict(), "heads.0.bias": torch.full((3,), float(n + 1))} for n in range(members)]
    ensemble = MemberInferer(PadToStrideInferer(flips=(0, 1)), states)
    with torch.no_grad():
        ensemble(volume(), net)
    assert ensemble.runs == len(seen) == runs
    assert seen.count(0.0) == own
    assert set(seen) == {float(n) for n in range(members + 1)}


def test_what_is_made_in_a_view_comes_back_to_its_place():
    """The network alone sees the same disagreement wherever the volume is flipped to."""
    net = network()
    members = [network(1).state_dict()]
    plain = MemberInferer(PadToStrideInferer(), members)
    turned = MemberInferer(PadToStrideInferer(), members)
    view = PadToStrideInferer(flips=(0,), transposed_axes=(0, 1)).views[-1]
    assert (view.exchanged, view.flipped) == ((2, 3), (2,))
    torch.testing.assert_close(view.back(view.of(volume())), volume(), atol=0, rtol=0)
    with torch.no_grad():
        plain(volume(), net)
        turned(volume(), net)
    assert torch.equal(plain.mutual_information, turned.mutual_information)


def test_half_precision_members_and_metadata():
    net = network()
    half = {name: weight.half() for name, weight in network(1).state_dict().items()}
    image = MetaTensor(volume(), affine=torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0])))
    with torch.no_grad():
        found = MemberInferer(PadToStrideInferer(), [half])(image, net)
        whole = MemberInferer(PadToStrideInferer(), [network(1).state_dict()])(image, net)
    assert isinstance(found, MetaTensor)
    assert float(found.affine[0, 0]) == 2.0
    torch.testing.assert_close(found.exp(), whole.exp(), atol=2e-3, rtol=0)


def test_weights_come_back_where_a_member_does_not_fit():
    net = network()
    own = {name: weight.clone() for name, weight in net.state_dict().items()}
    broken = {**network(1).state_dict(), "heads.0.bias": torch.zeros(9)}
    with pytest.raises(RuntimeError, match="size mismatch"):
        MemberInferer(PadToStrideInferer(), [broken])(volume(), net)
    assert all(torch.equal(weight, own[name]) for name, weight in net.state_dict().items())


def test_where_the_memory_is_short_there_are_class_indices_and_nothing_else():
    net = network()
    inferer = PadToStrideInferer(roi_size=(4, 4, 4), max_voxels=0, result_gb=1e-9)
    ensemble = MemberInferer(inferer, [network(1).state_dict()])
    with torch.no_grad():
        assert torch.equal(ensemble(volume(), net), inferer(volume(), net))
        assert ensemble(volume(), net).shape == SHAPE
    assert ensemble.mutual_information is None


def test_entropy_of_certainty_and_of_doubt():
    said = torch.tensor([[1.0, 0.25], [0.0, 0.25], [0.0, 0.25], [0.0, 0.25]]).log()[None]
    assert entropy(said)[0, 0].tolist() == [0.0, pytest.approx(math.log(4))]


@pytest.mark.parametrize("flips", [(), (0,)])
def test_an_ensemble_holds_no_more_of_all_classes_than_it_counts(flips):
    """Its sum and the logits of a run, in 16 slabs what is made of them, and the entropies: with flips or without."""
    logits = torch.randn(1, 20, 32, 16, 16)
    net, image = network(classes=20), torch.zeros(1, 1, 32, 16, 16)
    counted = sum_bytes(20, 32 * 16 * 16, flips=True)
    inferer = PadToStrideInferer(roi_size=(4, 4, 4), flips=flips, result_gb=counted / 2**30)
    inferer.one_run = lambda image, net: logits.clone()
    ensemble = MemberInferer(inferer, [network(1, classes=20).state_dict()])
    with torch.no_grad(), LiveTensors() as live:
        ensemble(image, net)
        assert ensemble.mutual_information is not None
        assert sum_bytes(20, 32 * 16 * 16, flips=False) < 0.5 * live.peak
        assert live.peak < 1.15 * counted
        inferer.result_gb *= 0.99
        assert not ensemble.holds_all_classes(image, net)


def test_where_the_memory_is_enough_for_the_network_alone_that_is_what_it_gives():
    net = network()
    once = sum_bytes(3, 7 * 8 * 6, flips=False) / 2**30
    inferer = PadToStrideInferer(roi_size=(4, 4, 4), result_gb=1.1 * once)
    ensemble = MemberInferer(inferer, [network(1).state_dict()])
    with torch.no_grad():
        assert torch.equal(ensemble(volume(), net), inferer(volume(), net))
    assert ensemble.mutual_information is None

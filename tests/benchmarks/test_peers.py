# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_ronas.space import RonasSpace
from tests.benchmarks.peers import PEERS, Handmade, cosine, nnunet_sgd, plan_of, polynomial
from tests.toys import toy_fingerprint

THICK = toy_fingerprint((40, 48, 9), (1.5, 1.5, 10.0))


@pytest.mark.parametrize(
    ("name", "patch"),
    [("dynunet_half", (40, 48, 10)), ("segresnet", (40, 48, 16)), ("unet", (48, 48, 16))],
)
def test_a_peer_has_nnunets_patch_in_multiples_of_its_own_strides(name, patch):
    plan = plan_of(name, THICK)
    assert (plan.patch, plan.batch_size) == (patch, 2)
    space = RonasSpace(spacing=THICK.target_spacing, **plan.space_arguments())
    network = Handmade(name, THICK, space)
    assert network.patch == patch
    image = torch.zeros(1, 1, *patch)
    levels = network.train()(image)
    assert (levels[0] if isinstance(levels, list) else levels).shape == (1, 3, *patch)
    assert isinstance(levels, list) == name.startswith("dynunet")
    with torch.no_grad():
        assert network.eval()(image).shape == (1, 3, *patch)


def test_a_peer_without_an_optimizer_of_its_own_has_the_searchs():
    assert "optimizer" not in PEERS["dynunet_muon"].settings("dynunet_muon")
    chosen = PEERS["segresnet_auto3dseg"].settings("segresnet_auto3dseg")["optimizer"]
    assert (chosen["_target_"], chosen["lr"], chosen["weight_decay"]) == ("torch.optim.AdamW", 2e-4, 1e-5)


def test_nnunets_optimizer_moves_by_gradients_of_norm_twelve_at_most():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = nnunet_sgd([weight])
    weight.grad = torch.tensor([0.0, 1200.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.0, -0.01 * 12 * 1.99]))


def test_learning_rates_fall_from_one_to_nothing():
    assert [cosine(0.0), polynomial(0.0)] == [1.0, 1.0]
    assert [cosine(1.0), polynomial(1.0)] == [0.0, 0.0]
    assert (cosine(0.5), polynomial(0.5)) == pytest.approx((0.5, 0.5359), abs=1e-4)

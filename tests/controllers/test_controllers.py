# SPDX-License-Identifier: Apache-2.0
import math
import random

import pytest
import torch

from monai_ronas.controllers import LSTMController, RandomController, make_controller
from monai_ronas.losses import ReinforceLoss
from monai_ronas.space import Decision, RonasSpace, SearchSpace


class NoSecondX(SearchSpace):
    """``b`` may not be ``"x"`` where ``a`` is 2."""

    def allows(self, partial):
        return not (partial.get("a") == 2 and partial.get("b") == "x")


@pytest.fixture
def space():
    return NoSecondX([Decision("a", [1, 2]), Decision("b", ["x", "y", "z"])])


def search(controller, table, *, episodes, children=20, seed=0):
    """REINFORCE on rewards from a table; returns the probability of the planted best."""
    weights = list(controller.parameters())
    optimizer = torch.optim.Adam(weights, lr=0.01) if weights else None
    generator, loss = torch.Generator().manual_seed(seed), ReinforceLoss(1e-4)
    for _ in range(episodes):
        indices = controller.sample(children, generator)
        log_prob, entropy = controller.evaluate(indices)
        rewards = table(indices)
        value = loss(log_prob, entropy, rewards - rewards.mean())
        if optimizer is not None:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()


def test_the_planted_best_is_found_and_random_does_not_find_it():
    space = RonasSpace((43, 59, 47))
    best = torch.tensor([space.encode(space.sample(random.Random(3)))])

    def table(indices):
        return 0.8 + 0.1 * (indices == best).float().mean(dim=1)

    policy, control = LSTMController(space), RandomController(space)
    for controller in (policy, control):
        search(controller, table, episodes=60)
    assert policy.evaluate(best)[0].sum().exp() > 0.9
    assert torch.equal(policy.mode(), best)
    assert control.evaluate(best)[0].sum().exp() < 1e-4


def test_masked_options_are_never_sampled_and_probabilities_are_exact(space):
    for controller in (LSTMController(space), RandomController(space)):
        indices = controller.sample(400, torch.Generator().manual_seed(0))
        assert not ((indices[:, 0] == 1) & (indices[:, 1] == 0)).any()
        log_prob, entropy = controller.evaluate(torch.tensor([[0, 0], [1, 2]]))
        expected = torch.tensor([[math.log(1 / 2), math.log(1 / 3)], [math.log(1 / 2), math.log(1 / 2)]])
        torch.testing.assert_close(log_prob, expected)
        torch.testing.assert_close(entropy, -expected)


def test_log_probabilities_recomputed_in_a_batch_are_those_of_the_sampling(space):
    torch.manual_seed(0)
    controller = LSTMController(space)
    for head in controller.heads:
        torch.nn.init.normal_(head.weight)
    batch = torch.tensor([[0, 1], [1, 2], [0, 0]])
    together, _ = controller.evaluate(batch)
    alone = torch.cat([controller.evaluate(row[None])[0] for row in batch])
    torch.testing.assert_close(together, alone)
    every = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 1], [1, 2]])
    assert float(controller.evaluate(every)[0].sum(1).exp().sum().detach()) == pytest.approx(1.0, abs=1e-5)


def test_sampling_depends_on_the_generator_alone(space):
    controller = LSTMController(space)
    torch.manual_seed(1)
    first = controller.sample(50, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    assert torch.equal(first, controller.sample(50, torch.Generator().manual_seed(7)))


def test_gradient_of_a_hand_computed_case():
    """Two options with logits (0, 0): p = 1/2, d log p(0) / d logit = (1/2, -1/2)."""
    space = SearchSpace([Decision("a", ["x", "y"])])
    controller = LSTMController(space)
    indices, advantage = torch.tensor([[0], [1]]), torch.tensor([0.3, -0.1])
    log_prob, entropy = controller.evaluate(indices)
    torch.testing.assert_close(log_prob, torch.full((2, 1), math.log(0.5)))
    loss = ReinforceLoss(entropy_weight=0.0)(log_prob, entropy, advantage)
    assert float(loss.detach()) == pytest.approx(-(0.3 - 0.1) * math.log(0.5) / 2)
    loss.backward()
    # -1/2 * (0.3 * (1/2, -1/2) - 0.1 * (-1/2, 1/2)) = (-0.1, 0.1)
    torch.testing.assert_close(controller.heads[0].bias.grad, torch.tensor([-0.1, 0.1]))


def test_children_get_their_own_credit():
    log_prob = torch.zeros(2, 3, requires_grad=True)
    ReinforceLoss(0.0)(log_prob, torch.zeros(2, 3), torch.tensor([0.2, -0.2])).backward()
    torch.testing.assert_close(log_prob.grad, torch.tensor([[-0.1] * 3, [0.1] * 3]))


def test_an_advantage_is_a_childs():
    with pytest.raises(ValueError, match=r"advantage \(children,\), received \(2, 3\), \(2, 3\) and \(2, 3\)"):
        ReinforceLoss()(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))


def test_unknown_strategy(space):
    assert isinstance(make_controller("random", space), RandomController)
    with pytest.raises(ValueError, match="strategy must be one of"):
        make_controller("genetic", space)


def test_log_probabilities_are_those_of_the_sampling_when_a_limit_was_learnt_since():
    space = RonasSpace((48, 48, 48))
    ceiling = [math.inf]
    limited = space.restrict(lambda a: math.prod(space.patch(a)) <= ceiling[0])
    policy = LSTMController(limited)
    indices = policy.sample(6, torch.Generator().manual_seed(0))
    masks = policy.masks(indices)
    before = policy.evaluate(indices)
    ceiling[0] = math.prod(space.patch(space.cheapest))
    assert any(not limited.is_feasible(limited.decode(row)) for row in indices.tolist())
    with pytest.raises(ValueError, match="no option of decision"):
        policy.evaluate(indices)
    after = policy.evaluate(indices, masks)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1], before[1])

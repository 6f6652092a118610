# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_ronas.utils.collectives import (
    average_gradients,
    dealt,
    fair_gb,
    from_all,
    from_rank,
    gathered,
    least,
    mean,
    take_from_main,
)
from monai_ronas.utils.ranks import own_rank
from tests.ranks import in_ranks


def test_a_single_process_has_what_it_gives():
    weights = [torch.ones(2, requires_grad=True), torch.ones(3)]
    weights[0].sum().backward()
    take_from_main(weights[1:])
    average_gradients(weights)
    assert (from_all("a"), from_rank("a", 0), dealt("abc"), gathered("abc", 3)) == (["a"], "a", [*"abc"], [*"abc"])
    assert (least(2.5), mean(2.5), fair_gb(2.5)) == (2.5, 2.5, 2.5)
    assert (weights[0].grad.tolist(), weights[1].grad, weights[1].tolist()) == ([1.0, 1.0], None, [1.0, 1.0, 1.0])


def test_processes_give_each_other_what_they_have(tmp_path):
    def give():
        rank = float(own_rank())
        weights = [torch.full((2, 2), rank), torch.full((3,), rank)]
        take_from_main(weights)
        trained = [torch.zeros(2), torch.zeros(1), torch.zeros(1)]
        trained[0].grad = torch.tensor([rank, 1.0])
        trained[1].grad = torch.ones(1) if rank else None
        average_gradients(trained)
        return {
            "all": from_all(rank),
            "last": from_rank({"rank": rank}, 1),
            "numbers": (least(rank), mean(rank)),
            "memory": (fair_gb(8.0 + rank), fair_gb(8.0 + rank, "cuda")),
            "weights": [w.tolist() for w in weights],
            "gradients": [None if w.grad is None else w.grad.tolist() for w in trained],
        }

    first, second = in_ranks(give, tmp_path)
    assert first == second
    assert first["all"] == [0.0, 1.0]
    assert first["last"] == {"rank": 1.0}
    assert first["numbers"] == (0.0, 0.5)
    assert first["memory"] == (4.0, 8.0)
    assert first["weights"] == [[[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 0.0]]
    assert first["gradients"] == [[0.5, 1.0], [0.5], None]


@pytest.mark.parametrize("items", [1, 2, 5])
def test_what_is_dealt_comes_back_in_order(tmp_path, items):
    def deal():
        return dealt(range(items)), gathered(dealt(range(items)), items)

    (first, one), (second, other) = in_ranks(deal, tmp_path)
    assert one == other == list(range(items))
    assert {*first, *second} == set(range(items))
    assert len(first) >= len(second) >= 1

# SPDX-License-Identifier: Apache-2.0
import time

import pytest
import torch

from monai_ronas.errors import SettingError
from monai_ronas.utils import TimeBudget, join_ranks, leave_to_main
from monai_ronas.utils.ranks import (
    agree_any,
    dealt,
    from_all,
    from_main,
    in_order,
    is_main,
    least,
    main_first,
    mean,
    now,
    number_of_ranks,
    own_generator,
    own_rank,
    take_from_main,
    total,
)
from tests.ranks import in_ranks


def test_a_single_process_is_the_main_one_and_agrees_with_itself():
    generator, tensor = torch.Generator(), torch.ones(2)
    assert (number_of_ranks(), own_rank(), is_main()) == (1, 0, True)
    assert (agree_any(True), agree_any(False), from_main("a"), from_all("a")) == (True, False, "a", ["a"])
    assert total(tensor) is tensor
    assert (least(2.5), mean(2.5), dealt("abc")) == (2.5, 2.5, ["a", "b", "c"])
    assert own_generator(generator) is generator
    assert abs(now() - time.time()) < 10
    leave_to_main()


def test_without_torchrun_its_use_is_told(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SettingError, match="--nproc_per_node N -m"):
        join_ranks("cpu")


@pytest.mark.parametrize("given", ["an hour", 0, float("nan")])
def test_a_timeout_that_is_none_is_refused(given):
    with pytest.raises(SettingError, match="rank_timeout_minutes must be a positive number, received"):
        join_ranks("cpu", timeout_minutes=given)


def test_processes_agree(tmp_path):
    order = tmp_path / "order"

    def talk():
        rank = own_rank()
        budget = TimeBudget(1.0)
        spent = [budget.elapsed()]
        time.sleep(0.05 * rank)
        spent.append(budget.elapsed())
        found = {
            "any": [agree_any(rank == 1), agree_any(False)],
            "main": from_main({"rank": rank}),
            "all": from_all(rank),
            "least": least(float(rank)),
            "mean": mean(float(rank)),
            "total": total(torch.tensor([rank, 1])).tolist(),
        }
        spent.append(budget.elapsed())
        weights = [torch.full((2, 2), float(rank)), torch.full((3,), float(rank))]
        take_from_main(weights)
        with main_first():
            with order.open("a") as file:
                file.write(str(rank))
            time.sleep(0.1 * (1 - rank))
        common = torch.Generator().manual_seed(7)
        own = torch.rand(3, generator=own_generator(common)).tolist()
        weights = [w.tolist() for w in weights]
        return {**found, "weights": weights, "spent": spent, "own": own, "state": common.get_state()}

    first, second = in_ranks(talk, tmp_path)
    own = [found.pop("own") for found in (first, second)]
    states = [found.pop("state") for found in (first, second)]
    assert first == second
    assert first["any"] == [True, False]
    assert first["main"] == {"rank": 0}
    assert first["all"] == [0, 1]
    assert (first["least"], first["mean"], first["total"]) == (0.0, 0.5, [1, 2])
    assert first["weights"] == [[[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 0.0]]
    assert first["spent"][0] == first["spent"][1] < first["spent"][2]  # the clock goes on where they agree
    assert order.read_text() == "01"
    assert own[0] != own[1]
    assert torch.equal(*states)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_what_is_dealt_comes_back_in_order(tmp_path, items):
    def deal():
        rows = torch.tensor([[float(item)] for part in from_all(dealt(range(items))) for item in part])
        return dealt(range(items)), in_order(rows, items).flatten().tolist()

    (first, one), (second, other) = in_ranks(deal, tmp_path)
    assert one == other == list(range(items))
    assert {*first, *second} == set(range(items))
    assert len(first) >= len(second) >= 1

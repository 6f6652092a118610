# SPDX-License-Identifier: Apache-2.0
import os
import time

import pytest
import torch

from monai_ronas.errors import SettingError
from monai_ronas.utils import RankError, TimeBudget, join_ranks, leave_to_main
from monai_ronas.utils.collectives import from_all
from monai_ronas.utils.ranks import (
    agree_any,
    apart,
    from_main,
    is_main,
    main_first,
    meet,
    now,
    number_of_ranks,
    own_generator,
    own_rank,
    total,
)
from tests.ranks import in_ranks


def test_a_single_process_is_the_main_one_and_agrees_with_itself():
    generator, tensor = torch.Generator(), torch.ones(2)
    assert (number_of_ranks(), own_rank(), is_main()) == (1, 0, True)
    assert (agree_any(True), agree_any(False), from_main("a")) == (True, False, "a")
    assert total(tensor) is tensor
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
            "total": total(torch.tensor([rank, 1])).tolist(),
        }
        spent.append(budget.elapsed())
        with main_first():
            with order.open("a") as file:
                file.write(str(rank))
            time.sleep(0.1 * (1 - rank))
        common = torch.Generator().manual_seed(7)
        own = torch.rand(3, generator=own_generator(common)).tolist()
        return {**found, "spent": spent, "own": own, "state": common.get_state()}

    first, second = in_ranks(talk, tmp_path)
    own = [found.pop("own") for found in (first, second)]
    states = [found.pop("state") for found in (first, second)]
    assert first == second
    assert first["any"] == [True, False]
    assert first["main"] == {"rank": 0}
    assert first["total"] == [1, 2]
    assert first["spent"][0] == first["spent"][1] < first["spent"][2]  # the clock goes on where they agree
    assert order.read_text() == "01"
    assert own[0] != own[1]
    assert torch.equal(*states)


def test_ranks_that_work_apart_are_alone_until_all_have_ended(tmp_path):
    def work():
        rank, before = own_rank(), now()
        with apart(every_seconds=0.0):
            alone = number_of_ranks(), own_rank(), is_main(), from_all(rank), total(torch.tensor(rank)).item()
            clock = [now()]
            for _ in range(3 * rank):
                time.sleep(0.02)
                meet()
            clock.append(now())
        return alone, rank, clock[0] >= before, clock[1] - clock[0], number_of_ranks(), from_all(rank), now()

    first, second = in_ranks(work, tmp_path)
    assert first[:3] == ((1, 0, True, [0], 0), 0, True)
    assert second[:3] == ((1, 0, False, [1], 1), 1, True)
    assert first[3] < 0.06 <= second[3]  # each has its own clock
    assert first[4:] == second[4:]
    assert first[5] == [0, 1]


def test_the_clock_of_one_that_works_apart_stands_still_while_it_waits(tmp_path):
    def work():
        with apart(every_seconds=0.0):
            begin = now()
            if own_rank() == 0 and not is_main():
                time.sleep(0.5)
            meet()
            return now() - begin

    first, second = in_ranks(work, tmp_path)
    assert first < 0.5 <= second


def test_one_that_ends_is_noticed_by_those_that_work_apart(tmp_path):
    def work():
        rank = own_rank()
        try:
            with apart(every_seconds=0.0):
                if rank == 1:
                    torch.save("gone", tmp_path / "1.pt")
                    os._exit(0)
                while True:
                    time.sleep(0.01)
                    meet()
        except RankError as error:
            return str(error), number_of_ranks()

    (told, number), gone = in_ranks(work, tmp_path)
    assert gone == "gone"
    assert told.startswith("another process of this run has ended")
    assert number == 2

# SPDX-License-Identifier: Apache-2.0
import torch
from ignite.engine import Engine
from monai.handlers import MeanDice

from monai_ronas.metrics import OwnMeanDice
from monai_ronas.utils.ranks import own_rank
from tests.ranks import in_ranks


def scored(metric, volumes):
    """The mean and the values of each case."""
    engine = Engine(lambda engine, batch: batch)
    metric(include_background=False, num_classes=3).attach(engine, "dice")
    engine.run(volumes)
    return engine.state.metrics["dice"], engine.state.metric_details["dice"]


def volumes(seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 3, (2, 3, 1, 1, 4, 4, 4), generator=generator)
    drawn[:, 1][drawn[:, 1] == 2] = 0  # a case without one of the classes
    return [(prediction, label) for prediction, label in zip(*drawn, strict=True)]


def test_in_a_single_process_it_is_monais():
    own, monais = (scored(metric, volumes(0)) for metric in (OwnMeanDice, MeanDice))
    torch.testing.assert_close(own[1], monais[1], equal_nan=True)
    assert own[1].shape == (3, 2)
    assert abs(own[0] - float(monais[1].nanmean(dim=1).nanmean())) < 1e-6


def test_it_begins_anew_with_every_run():
    engine = Engine(lambda engine, batch: batch)
    OwnMeanDice(include_background=False, num_classes=3).attach(engine, "dice")
    engine.run(volumes(0))
    engine.run(volumes(1)[:2])
    torch.testing.assert_close(engine.state.metric_details["dice"], scored(MeanDice, volumes(1)[:2])[1], equal_nan=True)


def test_each_process_has_its_own_cases(tmp_path):
    ranks = in_ranks(lambda: scored(OwnMeanDice, volumes(own_rank())), tmp_path)
    for rank, found in enumerate(ranks):
        torch.testing.assert_close(found[1], scored(MeanDice, volumes(rank))[1], equal_nan=True)

# SPDX-License-Identifier: Apache-2.0
import torch
from torch.utils.data import DataLoader, RandomSampler

from monai_ronas.data import DealtSampler
from monai_ronas.utils.ranks import apart
from tests.ranks import in_ranks


def test_in_a_single_process_it_is_torchs_own():
    torch.manual_seed(0)
    own = list(DealtSampler(range(7), num_samples=40))
    torch.manual_seed(0)
    assert own == list(RandomSampler(range(7), replacement=True, num_samples=40))


def test_ranks_share_what_is_drawn(tmp_path):
    def draw():
        torch.manual_seed(0)
        sampler = DealtSampler(range(7), num_samples=20)
        return len(DataLoader(range(7), sampler=sampler, batch_size=2)), list(sampler)

    (length, first), (_, second) = in_ranks(draw, tmp_path)
    torch.manual_seed(0)
    together = list(RandomSampler(range(7), replacement=True, num_samples=40))
    assert length == 10
    assert (first, second) == (together[::2], together[1::2])


def test_processes_that_work_apart_draw_as_a_single_one_does(tmp_path):
    def draw():
        sampler = DealtSampler(range(7), num_samples=40)
        with apart():
            torch.manual_seed(0)
            return len(sampler), list(sampler)

    torch.manual_seed(0)
    alone = list(RandomSampler(range(7), replacement=True, num_samples=40))
    assert in_ranks(draw, tmp_path) == [(40, alone), (40, alone)]

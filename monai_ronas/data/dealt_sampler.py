# SPDX-License-Identifier: Apache-2.0
"""Training cases for many processes."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice

from torch.utils.data import RandomSampler

from monai_ronas.utils.ranks import number_of_ranks, own_rank


class DealtSampler(RandomSampler):
    """Random cases, with replacement, dealt over the ranks: all draw the same ones, and each takes its own of them.

    torch's random state has to be the same on all ranks, as :class:`~monai_ronas.handlers.MeanGradients` sees to. In a
    single process it is torch's own sampler.

    Args:
        data_source: what is drawn from.
        num_samples: cases for each rank.

    Example:
        >>> len(list(DealtSampler(range(3), num_samples=5)))
        5
    """

    def __init__(self, data_source: Sized, *, num_samples: int) -> None:
        self._own = num_samples
        super().__init__(data_source, replacement=True, num_samples=num_samples)

    @property
    def num_samples(self) -> int:
        """Cases for all ranks that work together now."""
        return self._own * number_of_ranks()

    def __iter__(self) -> Iterator[int]:
        return islice(super().__iter__(), own_rank(), None, number_of_ranks())

    def __len__(self) -> int:
        return self._own

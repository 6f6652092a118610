# SPDX-License-Identifier: Apache-2.0
"""Cases that stay on a GPU, so that crops are cut there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.data import Dataset

from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
_VOLUMES = "image", "label"


class ResidentDataset(Dataset):
    """The items of a data set, whose volumes stay on a device once they have been asked for, as many as fit.

    What does not fit is given as the data set has it. Other entries than ``image`` and ``label`` stay where they are.
    MONAI's ``CacheDataset`` with ``ToDeviced`` keeps a number of cases that has to be known before.

    Args:
        dataset: gives dictionaries with the tensors ``image`` and ``label``, the same for an index each time.
        device: where volumes stay.
        most_gb: memory in GiB that they may take there.

    Example:
        >>> cases = [{"image": torch.zeros(1, 64, 64, 64), "label": torch.zeros(1, 64, 64, 64)} for _ in range(3)]
        >>> resident = ResidentDataset(cases, "cpu", most_gb=0.004)
        >>> [resident[index] is cases[index] for index in (2, 0, 1, 2)], resident.number
        ([False, False, True, False], 2)
    """

    def __init__(self, dataset: Dataset | Sequence[Any], device: str | torch.device, *, most_gb: float) -> None:
        super().__init__(data=cast(Sequence[Any], dataset))
        self.device = torch.device(device)
        self._left = most_gb * 2**30
        self._kept: dict[int, dict[Any, Any]] = {}

    @property
    def number(self) -> int:
        """Cases on the device now."""
        return len(self._kept)

    def _transform(self, index: int) -> Any:
        if index in self._kept:
            return dict(self._kept[index])
        item = self.data[index]
        size = sum(item[key].nbytes for key in _VOLUMES)
        if size > self._left:
            return item
        try:
            volumes = {key: item[key].to(self.device) for key in _VOLUMES}
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("the memory of %s does not suffice for more than %d cases", self.device, self.number)
            self._left = 0.0
            return item
        self._left -= size
        rest = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in item.items() if k not in _VOLUMES}
        self._kept[index] = {**rest, **volumes}  # copies, so that a file that they were mapped from is let go
        return dict(self._kept[index])

# SPDX-License-Identifier: Apache-2.0
"""The volumes that a derived bundle segments; those that it cannot are named."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from monai_ronas.bundle.predictions import prediction_name
from monai_ronas.data import DatasetError
from monai_ronas.errors import SettingError, find_error
from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
_SUFFIXES = (".nii.gz", ".nii")
_SHOWN = 10


def list_volumes(folder: str | os.PathLike[str], output_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """The NIfTI volumes of a folder, sorted. What else lies there is passed over and named in the log.

    Args:
        folder: the folder; those below it are not looked into.
        output_dir: where predictions are written: where it is the same folder, those of an earlier run are passed over.

    Raises:
        DatasetError: when the folder is missing or holds none.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(f"dataset_dir '{root}' is not a folder: give the folder that holds the volumes.")
    own = None if output_dir is None else Path(output_dir).resolve()
    listed = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    written = {root / prediction_name(p) for p in listed} if root.resolve() == own else set()
    found = [p for p in listed if p.name.endswith(_SUFFIXES) and p not in written]
    others = [p for p in listed if p not in found and p.resolve() != own]
    if others:
        shown = ", ".join(f"'{p.name}'" for p in others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
        logger.warning("passed over in '%s', no volumes to segment (.nii, .nii.gz): %s", root, shown)
    if not found:
        raise DatasetError(f"dataset_dir '{root}' holds no .nii or .nii.gz file: give the folder of the volumes.")
    return [str(p) for p in found]


class SoundVolumes(IterableDataset):
    """Items that are preprocessed one after the other; those whose files are at fault are named and left out.

    Args:
        data: items of paths, the first of which names the item.
        transform: the preprocessing.
        what: what is done with them, in the words of the messages.

    Attributes:
        left_out: the items left out by the last iteration, as their faults in words.
    """

    def __init__(
        self, data: Sequence[Mapping[str, str]], transform: Callable[..., Any], *, what: str = "segmented"
    ) -> None:
        super().__init__()
        self.data = list(data)
        self.transform = transform
        self.what = what
        self.left_out: list[str] = []
        self._begun: Iterator[Any] | None = None

    def begin(self) -> None:
        """Preprocess items up to the first sound one, with which the next iteration begins.

        Raises:
            DatasetError: when there is none.
        """
        items = self._sound()
        first = next(items, None)
        if first is None:
            raise DatasetError(self._summary())
        self._begun = itertools.chain([first], items)

    def end(self) -> None:
        """Tell which items were left out.

        Raises:
            DatasetError: when there are any.
        """
        if self.left_out:
            raise DatasetError(self._summary())

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise SettingError(
                "dataloader#num_workers must be 0: what is left out is told by the process that loads it."
            )
        items, self._begun = self._begun or self._sound(), None
        return items

    def _sound(self) -> Iterator[Any]:
        self.left_out = []
        names: dict[str, str] = {}
        for item in self.data:
            path = next(iter(item.values()))
            other = names.setdefault(prediction_name(path), str(path))
            try:
                if other != str(path):
                    raise DatasetError(f"'{path}': its prediction would have the name of that for '{other}'")
                sound = self.transform(dict(item))
            except (RuntimeError, ValueError, MemoryError) as error:
                self.left_out.append(_fault(error, path))
                logger.error("not %s: %s", self.what, self.left_out[-1])
                continue
            yield sound

    def _summary(self) -> str:
        count = f"{len(self.left_out)} of {len(self.data)} volume(s) could not be {self.what}"
        return f"{count}: {'; '.join(self.left_out[:_SHOWN])}" + ("; ..." if len(self.left_out) > _SHOWN else ".")


def _fault(error: BaseException, path: str) -> str:
    """What is wrong with the files of an item; an error that has other reasons is raised again."""
    fault = find_error(error)
    if isinstance(fault, DatasetError):
        return str(fault)
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_memory(cause):
            return f"'{Path(path).name}': the memory does not suffice for its preprocessing"
        cause = cause.__cause__
    logger.error("in '%s':", path)
    raise error

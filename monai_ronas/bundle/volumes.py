# SPDX-License-Identifier: Apache-2.0
"""The volumes that a derived bundle segments; those that it cannot are named."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import ensure_tuple
from torch.utils.data import IterableDataset, get_worker_info

from monai_ronas.bundle.cases import CaseList
from monai_ronas.bundle.predictions import PredictionFiles
from monai_ronas.data import DatasetError
from monai_ronas.data.dicom_series import series_name, series_of
from monai_ronas.data.formats import ENDINGS, channel_number, dicom_files, ending, files_of, is_dicom
from monai_ronas.data.layouts.found import capital_ending, numbered_channels
from monai_ronas.data.msd import label_files, listed_images
from monai_ronas.errors import SettingError, find_error
from monai_ronas.utils import is_out_of_memory

logger = logging.getLogger(__name__)
_SHOWN = 10
_CAPITALS = "has an ending in capital letters: rename it to small ones"
_READ = f"{', '.join(ENDINGS)} or folders of a DICOM series"
Volume = str | list[str]


def list_volumes(
    folder: str | os.PathLike[str], predictions: PredictionFiles | None = None, *, channels: int = 1
) -> CaseList:
    """The volumes that are to be segmented, sorted. What else lies there is passed over and named in the log.

    Images that a data set lists and does not have, and files whose ending has capital letters, are named and left out,
    which is a fault at the end.

    Args:
        folder: a folder, with all those below it; a file, or that of one of the channels or of a DICOM series; or the
            folder of a data set with a ``dataset.json``, of which the images are meant, those of the training and of
            the test.
        predictions: where predictions are written; those of an earlier run, of any format, are passed over.
        channels: of the network: files ``a_0000.nii.gz``, ``a_0001.nii.gz`` and so on are one volume.

    Returns:
        paths of files or of folders with a DICOM series; a list of them for a volume whose channels have a file each.
        Where a folder holds several series, the first file of each stands for it. Attribute ``left_out``: what is wrong
        with the images that were left out.

    Raises:
        DatasetError: when the folder is missing or holds none, or a prediction would replace a label of the data set.
    """
    root = Path(folder)
    if not root.exists():
        raise DatasetError(f"dataset_dir '{root}' does not exist: give a file, a folder of volumes or a data set.")
    if not root.is_dir():
        if not ending(root) and not is_dicom(root):
            if capital_ending(root):
                raise DatasetError(f"dataset_dir '{root}' {_CAPITALS}.")
            raise DatasetError(f"dataset_dir '{root}' is neither a folder nor a volume ({_READ}).")
        numbered = channel_number(root) if channels > 1 and ending(root) else None
        files = numbered_channels(root.parent, numbered[0], ending(root)) if numbered else ()
        return CaseList([[str(path) for path in files]] if len(files) == channels and root in files else [str(root)])
    others: list[Path] = []
    left_out: list[str] = []
    if (root / "dataset.json").is_file():
        found, left_out = listed_images(root)
        if predictions is not None:
            _refuse_labels(root, found, predictions)
    else:
        own = None if predictions is None else Path(predictions.output_dir).resolve()
        single, others, closed = _walk(root, own)
        written = set() if predictions is None else {file for path in single for file in predictions.paths(path)}
        earlier = [path for path in single if Path(os.path.abspath(path)) in written]
        found = _joined([path for path in single if path not in earlier], channels)
        left_out = [f"'{path.relative_to(root)}' {_CAPITALS}" for path in others if capital_ending(path)]
        left_out += [f"'{path.relative_to(root)}' cannot be read ({why})" for path, why in closed]
        others = sorted([*(path for path in others if not capital_ending(path)), *earlier])
    for fault in left_out:
        logger.error("left out: %s", fault)
    if others:
        shown = ", ".join(f"'{p.relative_to(root)}'" for p in others[:_SHOWN])
        more = ", ..." if len(others) > _SHOWN else ""
        logger.warning("passed over in '%s', no volumes to segment (%s): %s%s", root, _READ, shown, more)
    if not found and not left_out:
        raise DatasetError(f"dataset_dir '{root}' holds no volume ({_READ}): give the folder of the volumes.")
    volumes = (str(paths[0]) if len(paths) == 1 else [str(path) for path in paths] for paths in found)
    return CaseList(volumes, left_out)


def _refuse_labels(root: Path, images: Sequence[tuple[Path, ...]], predictions: PredictionFiles) -> None:
    """Refuse predictions that would take the place of labels."""
    labels = {_place(label) for label in label_files(root)}
    for paths in images:
        file = predictions.path([str(path) for path in paths])
        if _place(file) in labels:
            raise DatasetError(
                f"the prediction for '{paths[0].name}' would replace the label '{file}': give another output_dir."
            )


def _place(path: Path) -> Path:
    """A file's path, without the links to its folder."""
    return path.parent.resolve() / path.name


def _walk(
    folder: Path, own: Path | None, above: tuple[Path, ...] = ()
) -> tuple[list[Path], list[Path], list[tuple[Path, str]]]:
    """The volumes in a folder and below, the files that are none, and what may not be read, with the reasons.

    Links to a folder above lead nowhere.
    """
    here = folder.resolve()
    if here in above or (above and here == own):
        return [], [], []
    slices = dicom_files(folder)
    volumes: list[Path] = _series(folder) if slices else []
    others: list[Path] = []
    closed: list[tuple[Path, str]] = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.is_dir() and not ending(path):
            try:
                below = _walk(path, own, (*above, here))
            except OSError as error:
                closed.append((path, str(error.strerror)))
                continue
            volumes += below[0]
            others += below[1]
            closed += below[2]
        elif ending(path):
            volumes.append(path)
        elif path not in slices:
            others.append(path)
    parts = {part for volume in volumes if volume.is_file() for part in _parts(volume)}
    return volumes, [path for path in others if path not in parts], closed


def _parts(volume: Path) -> list[Path]:
    """The files of a volume; the file alone where it cannot be read, which is told when it is to be segmented."""
    try:
        return files_of(volume)
    except OSError:
        return [volume]


def _series(folder: Path) -> list[Path]:
    """The folder of a DICOM series; of several, the first file of each, and the files that cannot be read."""
    series, broken = series_of(folder)
    if len(series) < 2:
        return [folder]
    names = [f"'{series_name(files[0])}' ('{files[0].name}' and {len(files) - 1} more)" for files in series]
    logger.info("'%s' holds %d DICOM series, each a volume: %s", folder.name, len(series), ", ".join(names))
    return [*(files[0] for files in series), *broken]


def _joined(volumes: Sequence[Path], channels: int) -> list[tuple[Path, ...]]:
    """Volumes with the files of their channels put together."""
    groups: dict[tuple[Path, str, str], dict[int, Path]] = {}
    for path in volumes:
        of_series = not ending(path) and path.is_file()  # such names are not those of channels
        numbered = channel_number(path) if channels > 1 and not of_series else None
        name, number = numbered or (path.name, 0)
        groups.setdefault((path.parent, name, ending(path)), {})[number] = path
    found: list[tuple[Path, ...]] = []
    for group in groups.values():
        whole = sorted(group) == list(range(channels))
        found += [tuple(group[number] for number in sorted(group))] if whole else [(path,) for path in group.values()]
    return found


class SoundVolumes(IterableDataset[Any]):
    """Items that are preprocessed one after the other; those whose files are at fault are named and left out.

    Args:
        data: items of paths, the first of which names the item; a :class:`~monai_ronas.bundle.CaseList` has others that
            were left out before.
        transform: the preprocessing.
        predictions: where predictions are written: of sound items that would have the same file the first is taken.
        what: what is done with them, in the words of the messages.

    Attributes:
        left_out: the items left out, before and by the last iteration, as their faults in words.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Volume]],
        transform: Callable[..., Any],
        *,
        predictions: PredictionFiles | None = None,
        what: str = "segmented",
    ) -> None:
        super().__init__()
        self.data = list(data)
        self.transform = transform
        self.predictions = predictions
        self.what = what
        self._before: tuple[str, ...] = getattr(data, "left_out", ())
        self.left_out = list(self._before)
        self._begun: Iterator[Any] | None = None
        self._name, self._seconds = "", 0.0  # of the item that was preprocessed last

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
        return self._timed(items)

    def _timed(self, items: Iterator[Any]) -> Iterator[Any]:
        """The items, with a line in the log after each that is done."""
        for sound in items:
            handed = time.perf_counter()
            yield sound
            seconds = self._seconds + time.perf_counter() - handed
            logger.info("%s: '%s' in %.1f s", self.what, self._name, seconds)

    def _sound(self) -> Iterator[Any]:
        self.left_out = list(self._before)
        written: dict[Path, str] = {}
        for item in self.data:
            path = str(ensure_tuple(next(iter(item.values())))[0])
            begin = time.perf_counter()
            try:
                if self.predictions is not None:
                    file = self.predictions.path(path)
                    if written.get(file, path) != path:
                        raise DatasetError(
                            f"'{path}': its prediction would have the name of that for '{written[file]}'"
                        )
                    self.predictions.check(path)
                sound = self.transform(dict(item))
                if self.predictions is not None:
                    written[file] = path
            except (RuntimeError, ValueError, MemoryError) as error:
                self.left_out.append(_fault(error, path).replace(f"'{Path(path).name}'", f"'{self._shown(path)}'", 1))
                logger.error("not %s: %s", self.what, self.left_out[-1])
                continue
            self._name, self._seconds = self._shown(path), time.perf_counter() - begin
            yield sound

    def _shown(self, path: str) -> str:
        """The file's name, with the folders in front that tell it from the others."""
        others = [Path(ensure_tuple(next(iter(item.values())))[0]).parts for item in self.data]
        parts = Path(path).parts
        for length in range(1, len(parts)):
            if sum(other[-length:] == parts[-length:] for other in others) <= 1:
                return str(Path(*parts[-length:]))
        return path

    def _summary(self) -> str:
        count = f"{len(self.left_out)} of {len(self.data) + len(self._before)} volume(s) could not be {self.what}"
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

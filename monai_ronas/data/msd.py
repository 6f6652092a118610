# SPDX-License-Identifier: Apache-2.0
"""Data sets with a ``dataset.json``, in any of the layouts of :mod:`monai_ronas.data.layouts`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_ronas.data.case import Case
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.formats import format_of
from monai_ronas.data.layouts import find_cases, find_images
from monai_ronas.data.layouts.found import paths_of
from monai_ronas.data.segment_codes import Codes, read_codes

__all__ = ["Case", "MSDDataset", "label_files", "listed_images", "read_msd"]
_IGNORE = "ignore"
_MOST_VALUES = 2**16


@dataclass(frozen=True)
class MSDDataset:
    """What ``dataset.json`` says about a data set, with its training cases.

    Attributes:
        root: folder that holds ``dataset.json``.
        name: name of the data set.
        description: one line about it, possibly empty.
        licence: licence of the data, possibly empty.
        modality: channel index to name of the imaging modality, indices 0..n-1.
        labels: label value to name, sorted by value, background (0) included. Values may have holes (0, 1, 4).
        cases: the training cases whose files are there, sorted by name.
        faults: what is wrong with the other entries of the training list, as pairs (case or entry, problem).
        layout: ``"MSD"``, ``"nnU-Net"`` or ``"folder per case"``.
        ignore_label: value of voxels that nobody has labelled (nnU-Net's label ``ignore``); None: there is none.
        codes: what labels are, by value, where ``segmentAttributes`` tells it: see
            :func:`~monai_ronas.data.segment_codes.read_codes`.
    """

    root: Path
    name: str
    description: str
    licence: str
    modality: dict[int, str]
    labels: dict[int, str]
    cases: tuple[Case, ...]
    faults: tuple[tuple[str, str], ...] = ()
    layout: str = "MSD"
    ignore_label: int | None = None
    codes: Mapping[int, Codes] = field(default_factory=dict)

    @property
    def formats(self) -> dict[str, list[str]]:
        """Formats of the files: ``{"image": [...], "label": [...]}``."""
        return {
            "image": sorted({str(format_of(path)) for case in self.cases for path in case.images}),
            "label": sorted({str(format_of(case.label)) for case in self.cases}),
        }

    @property
    def in_channels(self) -> int:
        """Number of image channels."""
        return len(self.modality)

    @property
    def out_channels(self) -> int:
        """Number of classes, background included."""
        return len(self.labels)

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names of the labels other than background, by label value."""
        return tuple(self.labels[value] for value in sorted(self.labels) if value != 0)


def read_msd(dataset_dir: str | os.PathLike[str], *, strict: bool = True) -> MSDDataset:
    """Read the ``dataset.json`` of a folder and check that the files of the cases are there.

    No volume is opened: see :func:`monai_ronas.data.verify_dataset` for that. ``modality`` may also be called
    ``channel_names``, and ``labels`` may be ``{"0": "background"}`` (MSD) or ``{"background": 0}`` (nnU-Net). A label
    named ``ignore`` is no class: its voxels were not annotated, and count nowhere.

    Args:
        dataset_dir: folder with ``dataset.json`` and the files, in one of the layouts of
            :mod:`monai_ronas.data.layouts` and the formats of :mod:`monai_ronas.data.formats`.
        strict: refuse a data set with a wrong entry in its training list, instead of telling so in ``faults``.

    Returns:
        The data set with its cases sorted by name.

    Raises:
        DatasetError: when the folder or its ``dataset.json`` is missing or contradictory, or a listed file is.

    Example:
        >>> import tempfile
        >>> from monai_ronas.data import make_phantom_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = read_msd(make_phantom_dataset(f"{folder}/phantom", num_cases=2, size=(16, 16, 16)))
        >>> dataset.foreground, [case.name for case in dataset.cases]
        (('organ', 'lesion', 'vessel'), ['phantom_000', 'phantom_001'])
    """
    root = Path(dataset_dir)
    content = _read_json(root)
    modality = _modality(content, root)
    labels, ignore_label = _labels(content, root)
    found = find_cases(content, root)
    faults = found.faults
    if strict and faults:
        more = f" (and {len(faults) - 1} more such entries)" if len(faults) > 1 else ""
        raise DatasetError(f"training in '{root}' has a fault in '{faults[0][0]}'{more}: {faults[0][1]}.")
    return MSDDataset(
        root=root,
        name=str(content.get("name") or root.resolve().name.encode(errors="replace").decode()),
        description=str(content.get("description", "")),
        licence=str(content.get("licence", content.get("license", ""))),
        modality=modality,
        labels=labels,
        cases=found.cases,
        faults=faults,
        layout=found.layout,
        ignore_label=ignore_label,
        codes=read_codes(content, labels, str(root)),
    )


def listed_images(dataset_dir: str | os.PathLike[str]) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Find all images of a data set, those without a label included.

    Args:
        dataset_dir: as for :func:`read_msd`.

    Returns:
        the paths of each image, several where its channels have a file each, and what is wrong with the others.

    Raises:
        DatasetError: when ``dataset.json`` is wrong.
    """
    root = Path(dataset_dir)
    return find_images(_read_json(root), root)


def label_files(dataset_dir: str | os.PathLike[str]) -> list[Path]:
    """The labels that a training list in ``dataset.json`` names, whether their cases can be used or not.

    Args:
        dataset_dir: as for :func:`read_msd`.

    Raises:
        DatasetError: when ``dataset.json`` cannot be read.
    """
    root = Path(dataset_dir)
    listed = _read_json(root).get("training")
    entries = listed if isinstance(listed, list) else []
    return [root / path for entry in entries for path in paths_of(entry, "label") or []]


def _read_json(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise DatasetError(f"dataset_dir '{root}' is not a folder: give the folder that holds dataset.json.")
    if not any(not item.name.startswith(".") for item in root.iterdir()):
        raise DatasetError(f"dataset_dir '{root}' is empty: give the folder that holds dataset.json and its volumes.")
    file = root / "dataset.json"
    if not file.is_file():
        raise DatasetError(f"dataset_dir '{root}' has no dataset.json: give the folder of a data set that has one.")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        json.dumps(content, ensure_ascii=False).encode()  # halves of a character, such as "\ud83d", cannot be written
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode; endless nesting
        raise DatasetError(f"'{file}' is not valid JSON ({error}): correct it.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"'{file}' must hold a JSON object, not a {type(content).__name__}.")
    return content


def _is_int(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip().isdecimal()


def _labels(content: Mapping[str, Any], root: Path) -> tuple[dict[int, str], int | None]:
    """Label value to name, and the value of voxels to ignore."""
    given = content.get("labels")
    if not isinstance(given, dict) or not given:
        raise DatasetError(f"dataset.json in '{root}' has no labels: add, for example, " + '{"0": "background", ...}.')
    if all(_is_int(key) for key in given):
        pairs = [(int(key), str(name)) for key, name in given.items()]
    elif all(_is_int(value) for value in given.values()):
        pairs = [(int(value), str(key)) for key, value in given.items()]
    else:
        regions = [name for name, value in given.items() if isinstance(value, (list, tuple))]
        if regions:
            raise DatasetError(
                f"labels in dataset.json of '{root}' give '{regions[0]}' several values, a region, which is not"
                " supported: give every label one value, and join labels in the predictions where regions are wanted."
            )
        raise DatasetError(f"labels in dataset.json of '{root}' must map whole numbers to names, received {given}.")
    values = sorted(value for value, _ in pairs)
    if values[0] != 0 or len(set(values)) < len(values) or values[-1] >= _MOST_VALUES:
        raise DatasetError(
            f"labels in dataset.json of '{root}' must be different numbers from 0, the background, to"
            f" {_MOST_VALUES - 1}, received {values}: renumber them, in the label files too."
        )
    names: dict[str, str] = {}
    for _, name in sorted(pairs):
        other = names.setdefault(name.strip().casefold(), name)
        if other is not name:
            raise DatasetError(
                f"labels in dataset.json of '{root}' have one name twice ('{other}' and '{name}', small and capital"
                " letters count as the same): give each its own."
            )
    ignored = [value for value, name in pairs if name.strip().casefold() == _IGNORE and value != 0]
    labels = {value: name for value, name in sorted(pairs) if value not in ignored}
    if list(labels) == [0]:
        raise DatasetError(f"labels in dataset.json of '{root}' hold the background alone: add a label to segment.")
    return labels, ignored[0] if ignored else None


def _modality(content: Mapping[str, Any], root: Path) -> dict[int, str]:
    given = content.get("modality") or content.get("channel_names")
    if not isinstance(given, dict) or not given:
        raise DatasetError(f"dataset.json in '{root}' has no modality: add, for example, " + '{"0": "MRI"}.')
    keys = sorted(int(key) if _is_int(key) else -1 for key in given)
    if keys != list(range(len(keys))):
        raise DatasetError(
            f"modality in dataset.json of '{root}' must number its channels 0..n, received {list(given)}."
        )
    return {int(key): str(name) for key, name in sorted(given.items(), key=lambda item: int(item[0]))}

# SPDX-License-Identifier: Apache-2.0
"""The raw layout of nnU-Net, version 2: ``imagesTr/case_0000.nii.gz`` by channel, ``labelsTr/case.nii.gz``, no listing.

Images may be folders as well, ``imagesTr/case_0000`` with the DICOM series of a channel. Where ``dataset.json`` has the
key ``dataset``, it lists the files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_ronas.data.case import Case
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.formats import ENDINGS, channel_number, dicom_files, ending, stem
from monai_ronas.data.layouts.found import (
    Found,
    capital_ending,
    case_paths,
    existing_images,
    listed_image,
    listed_label,
    sorted_cases,
)

logger = logging.getLogger(__name__)
LAYOUT, TRAINING, LABELS, TEST = "nnU-Net", "imagesTr", "labelsTr", "imagesTs"
_OWN_KEYS = ("channel_names", "file_ending", "numTraining", "dataset")


def is_layout(content: Mapping[str, Any], root: Path) -> bool:
    """Whether a ``dataset.json`` is one of nnU-Net's, version 2; with a training list it is not."""
    if isinstance(content.get("training"), list):
        return False
    return _is_listed(content) or (any(key in content for key in _OWN_KEYS) and (root / TRAINING).is_dir())


def find_cases(content: Mapping[str, Any], root: Path) -> Found:
    """Find the cases in ``imagesTr`` and ``labelsTr``.

    Args:
        content: what ``dataset.json`` says.
        root: the data set's folder.

    Raises:
        DatasetError: when there is none.
    """
    if _is_listed(content):
        return _listed(content["dataset"], root)
    images, faults = _channels(root / TRAINING, content)
    labels, doubled = _labels(root / LABELS, content)
    faults += doubled
    named = {name for name, _ in faults}
    cases = []
    for name, paths in images.items():
        if name in named:
            continue
        if name not in labels:
            faults.append((name, f"the label file '{LABELS}/{name}{_ending(content) or '.*'}' is missing"))
        else:
            cases.append(Case(name, paths if len(paths) > 1 else paths[0], labels[name]))
    faults += [(name, f"the label has no image in {TRAINING}") for name in labels if name not in {*images, *named}]
    if not cases and not faults:
        raise DatasetError(
            f"'{root / TRAINING}' holds no case, such as 'case_0000{_ending(content) or ENDINGS[0]}':"
            " give images, or correct file_ending in dataset.json."
        )
    told = content.get("numTraining")
    if isinstance(told, int) and told != len(images):
        logger.warning("dataset.json of '%s' says numTraining %d, %s holds %d cases", root, told, TRAINING, len(images))
    return Found(LAYOUT, sorted_cases(cases), tuple(sorted(faults)))


def find_images(content: Mapping[str, Any], root: Path) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Paths of the images in ``imagesTr`` and ``imagesTs``, or of those listed, and what is wrong with the others."""
    if _is_listed(content):
        return existing_images(content["dataset"].values(), "images", root)
    found: list[tuple[Path, ...]] = []
    told: list[str] = []
    for folder in (root / TRAINING, root / TEST):
        images, faults = _channels(folder, content) if folder.is_dir() else ({}, [])
        told += [f"'{name}' in {folder.name}: {problem}" for name, problem in faults]
        named = {name for name, _ in faults}
        found += [paths for name, paths in sorted(images.items()) if name not in named]
    return found, told


def _is_listed(content: Mapping[str, Any]) -> bool:
    return isinstance(content.get("dataset"), dict)


def _listed(entries: Mapping[str, Any], root: Path) -> Found:
    cases: list[Case] = []
    faults: list[tuple[str, str]] = []
    for name, entry in entries.items():
        paths = case_paths(entry, "images")
        if paths is None:
            faults.append((name, f"the entry needs images and label paths, received {entry!r:.80}"))
            continue
        try:
            cases.append(Case(name, listed_image(paths[0], root), listed_label(paths[1], root)))
        except DatasetError as error:
            faults.append((name, str(error)))
        except OSError as error:
            faults.append((name, f"the files cannot be looked up ({error.strerror})"))
    if not entries:
        raise DatasetError(f"dataset in dataset.json of '{root}' is empty: list at least one labelled case.")
    return Found(LAYOUT, sorted_cases(cases), tuple(sorted(faults)))


def _ending(content: Mapping[str, Any]) -> str:
    """The ending that ``dataset.json`` tells, empty where it tells none.

    Raises:
        DatasetError: when it is not one that can be read.
    """
    told = content.get("file_ending")
    if told in (None, ""):
        return ""
    if told not in ENDINGS:
        raise DatasetError(f"file_ending in dataset.json must be one of {', '.join(ENDINGS)}, received {told!r}.")
    return str(told)


def _volumes(folder: Path, content: Mapping[str, Any], *, series: bool) -> tuple[list[Path], list[tuple[str, str]]]:
    """The files of a folder that have the ending, the folders of DICOM files, and the faults."""
    endings = (_ending(content),) if _ending(content) else ENDINGS
    volumes: list[Path] = []
    faults: list[tuple[str, str]] = []
    others: list[str] = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        end = ending(path.name.lower())
        if path.is_dir():
            volumes += [path] * bool(series and dicom_files(path))
        elif end in endings and path.is_file() and not capital_ending(path):
            volumes.append(path)
        elif end in endings:
            name = path.name[: -len(end)]
            capital = "has an ending in capital letters: rename it to small ones"
            problem = capital if path.is_file() else "is a link that leads nowhere"
            numbered = channel_number(name + end) if series else None  # names of labels have no number
            case = numbered[0] if numbered else name
            faults.append((case, f"the file '{folder.name}/{path.name}' {problem}"))
        elif end:
            others.append(path.name)
    if others:
        told = "'%s' holds %d file(s), such as '%s', that are not used, as file_ending in dataset.json is %s"
        logger.warning(told, folder, len(others), others[0], endings[0])
    return volumes, faults


def _channels(folder: Path, content: Mapping[str, Any]) -> tuple[dict[str, tuple[Path, ...]], list[tuple[str, str]]]:
    """The paths of each case's channels, in their order, and the faults."""
    found: dict[str, dict[int, Path]] = {}
    volumes, faults = _volumes(folder, content, series=True)
    for path in volumes:
        numbered = channel_number(path)
        if numbered is None:
            faults.append((stem(path), f"the image '{path.name}' has no number of its channel, such as _0000"))
            continue
        channels = found.setdefault(numbered[0], {})
        other = channels.setdefault(numbered[1], path)
        if other is not path:
            faults.append((numbered[0], f"channel {numbered[1]} has two files, '{other.name}' and '{path.name}'"))
    for name, channels in found.items():
        missing = sorted(set(range(max(channels) + 1)) - set(channels))
        if missing:
            faults.append((name, f"the image of channel {missing[0]} ('{name}_{missing[0]:04d}') is missing"))
    return {name: tuple(channels[number] for number in sorted(channels)) for name, channels in found.items()}, faults


def _labels(folder: Path, content: Mapping[str, Any]) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    labels: dict[str, Path] = {}
    volumes, faults = _volumes(folder, content, series=False) if folder.is_dir() else ([], [])
    for path in volumes:
        other = labels.setdefault(stem(path), path)
        if other is not path:
            faults.append((stem(path), f"the case has two label files, '{other.name}' and '{path.name}'"))
    return labels, faults

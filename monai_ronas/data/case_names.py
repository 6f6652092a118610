# SPDX-License-Identifier: Apache-2.0
"""Names of cases, told by the paths of their images."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_ronas.data.formats import stem

_LAST_WORD = re.compile(r"[_\-. ]*[^_\-. ]*$")


def case_names(images: Sequence[str]) -> list[str]:
    """Name each case by what tells it from the others.

    That is the name of the image's file without its ending, such as ``.nii.gz``. Where different files share a name,
    it is the part of the path in which they differ, joined by underscores.

    Args:
        images: paths as they are listed.

    Returns:
        the names, in the order of ``images``; equal for equal paths alone.

    Example:
        >>> case_names(["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"])
        ['a', 'b']
        >>> case_names(["data/case_0/imaging.nii.gz", "data/case_1/imaging.nii.gz"])
        ['case_0', 'case_1']
    """
    paths = [_parts(image) for image in images]
    different = set(paths)
    if len({path[-1] for path in different}) == len(different):
        return [path[-1] for path in paths]
    shortest = min(map(len, different)) - 1
    first = min(_shared(different), shortest)
    last = min(_shared(path[::-1] for path in different), shortest - first)
    told = {path: path[first : len(path) - last] for path in different}
    joined = {path: "_".join(parts) for path, parts in told.items()}
    if len(set(joined.values())) < len(different):
        joined = {path: "/".join(parts) for path, parts in told.items()}
    return [joined[path] for path in paths]


def joint_path(images: Sequence[str]) -> str:
    """A path that stands for the files of a case's channels.

    Args:
        images: their paths.

    Returns:
        the path of one file; of several in a folder, the words with which all names begin, or the folder; of several
        folders, the file name that they share, or the folder above them.

    Example:
        >>> joint_path(["b/b_1_t1.nii.gz", "b/b_1_t1ce.nii.gz"]), joint_path(["b/t1.nii", "b/t2.nii"])
        ('b/b_1', 'b')
        >>> joint_path(["t1/case_0.nii", "t2/case_0.nii"])
        'case_0'
    """
    paths, stems = [Path(image) for image in images], [stem(image) for image in images]
    if len(set(images)) == 1:
        return images[0]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        return stems[0] if len(set(stems)) == 1 else os.path.commonpath(sorted(map(str, folders))) or images[0]
    letters = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
    words = _LAST_WORD.sub("", "".join(letter for letter, *_ in letters))
    joint = paths[0].parent / words
    return str(joint) if joint.name else images[0]


def _shared(paths: Iterable[tuple[str, ...]]) -> int:
    """How many parts paths have in common at their beginning."""
    return sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


def _parts(image: str) -> tuple[str, ...]:
    return (*Path(image).parts[:-1], stem(image))

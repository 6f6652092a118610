# SPDX-License-Identifier: Apache-2.0
"""Names of cases, told by the paths of their images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_ronas.data.formats import stem


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


def _shared(paths: Iterable[tuple[str, ...]]) -> int:
    """How many parts paths have in common at their beginning."""
    return sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


def _parts(image: str) -> tuple[str, ...]:
    return (*Path(image).parts[:-1], stem(image))

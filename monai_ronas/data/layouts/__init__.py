# SPDX-License-Identifier: Apache-2.0
"""Where the files of a data set's cases lie; a module for each layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.layouts import listing, nnunet
from monai_ronas.data.layouts.found import Found

__all__ = ["Found", "find_cases", "find_images"]


def find_cases(content: Mapping[str, Any], root: Path) -> Found:
    """Find the labelled cases of a data set.

    Args:
        content: what ``dataset.json`` says.
        root: the folder that holds it.

    Returns:
        the cases, the faults of the others, and the layout: ``"MSD"`` and ``"folder per case"`` list their files in
        ``dataset.json``, ``"nnU-Net"`` has them in ``imagesTr`` and ``labelsTr``.

    Raises:
        DatasetError: when the layout is unknown or has no case.
    """
    if isinstance(content.get("training"), list):
        return _with_names(listing.find_cases(content["training"], root))
    if nnunet.is_layout(content, root):
        return _with_names(nnunet.find_cases(content, root))
    raise DatasetError(
        f"dataset.json in '{root}' has no training list: add one"
        ' of {"image": ..., "label": ...} entries, or channel_names and file_ending as nnU-Net has them.'
    )


def find_images(content: Mapping[str, Any], root: Path) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Find all images of a data set, those without a label included.

    Args:
        content: what ``dataset.json`` says.
        root: the folder that holds it.

    Returns:
        the paths of each image, those of the training first, and what is wrong with images that are missing or wrong.
    """
    layout = nnunet if nnunet.is_layout(content, root) else listing
    return layout.find_images(content, root)


def _with_names(found: Found) -> Found:
    """Cases whose name is not UTF-8, in which reports and tables are written, are faults."""
    names = {case.name: case.name.encode(errors="backslashreplace").decode() for case in found.cases}
    faults = [
        (shown, "the names of its files are not UTF-8: rename them") for name, shown in names.items() if name != shown
    ]
    cases = tuple(case for case in found.cases if names[case.name] == case.name)
    return replace(found, cases=cases, faults=(*found.faults, *faults))

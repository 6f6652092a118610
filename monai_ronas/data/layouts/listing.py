# SPDX-License-Identifier: Apache-2.0
"""Layouts whose ``dataset.json`` lists the files: that of the Medical Segmentation Decathlon, and a folder per case.

In the Decathlon's, ``"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}, ...]``. With a
folder per case, as challenges hand data out, ``{"image": "case_0/imaging.nii.gz", "label":
"case_0/segmentation.nii.gz"}``; ``image`` may be a list of files, which are the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_ronas.data.case import Case
from monai_ronas.data.case_names import case_names, joint_path
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.layouts.found import Found, case_paths, existing_images, listed_image, listed_label, sorted_cases


def find_cases(training: Sequence[Any], root: Path) -> Found:
    """Find the cases of a training list.

    Args:
        training: the list.
        root: the data set's folder.

    Raises:
        DatasetError: when the list is empty.
    """
    cases: dict[str, Case] = {}
    faults: list[tuple[str, str]] = []
    entries: list[tuple[list[str], str]] = []
    for number, entry in enumerate(training):
        paths = case_paths(entry, "image")
        if paths is None:
            faults.append((f"training[{number}]", f"the entry needs image and label paths, received {entry!r:.80}"))
        elif not Path(paths[0][0]).name.startswith("._"):  # resource forks of macOS archives, not volumes
            entries.append(paths)
    names = case_names(_joint_paths([images for images, _ in entries]))
    for name, (images, label) in zip(names, entries, strict=True):
        try:
            image = listed_image(images, root)
            case = Case(name=name, image=image, label=listed_label(label, root))
        except DatasetError as error:
            faults.append((name, str(error)))
            continue
        except OSError as error:  # such as a name longer than the file system has them
            faults.append((name, f"the files cannot be looked up ({error.strerror})"))
            continue
        if name in cases:
            faults.append((name, "the case is listed more than once"))
        cases.setdefault(name, case)
    if not cases and not faults:
        raise DatasetError(f"the training list in dataset.json of '{root}' is empty: list at least one labelled case.")
    return Found(_layout(list(cases.values())), sorted_cases(cases.values()), tuple(sorted(faults)))


def find_images(content: Mapping[str, Any], root: Path) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Paths of the images of the lists ``training`` and ``test``, and what is wrong with the others."""
    lists = [content.get(key) for key in ("training", "test")]
    entries = [entry for listed in lists if isinstance(listed, list) for entry in listed]
    return existing_images([entry if isinstance(entry, dict) else {"image": entry} for entry in entries], "image", root)


def _joint_paths(entries: Sequence[Sequence[str]]) -> list[str]:
    """A path for each case, that of its first file where others of the same folder would have the joint path too."""
    joint = [joint_path(images) for images in entries]
    sharing: dict[str, set[tuple[str, ...]]] = {}
    for path, images in zip(joint, entries, strict=True):
        sharing.setdefault(path, set()).add(tuple(images))
    return [images[0] if len(sharing[path]) > 1 else path for path, images in zip(joint, entries, strict=True)]


def _layout(cases: Sequence[Case]) -> str:
    """A folder per case where image and label lie together, and no two cases do."""
    together = all(case.images[0].parent in case.label.parents for case in cases)
    return "folder per case" if together and len({case.label.parent for case in cases}) == len(cases) else "MSD"

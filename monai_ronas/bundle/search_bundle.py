# SPDX-License-Identifier: Apache-2.0
"""The search bundle, which the package carries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from monai_ronas.errors import SettingError

_CARRIED = Path(__file__).parent / "ronas"  # in a clone a link to bundles/ronas, in a wheel its files
_FILES = ("LICENSE", "configs/*", "docs/*")


def init_search_bundle(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the search bundle to a folder, as MONAI's ``init_bundle`` does with an empty one.

    Args:
        folder: the bundle's folder. It is made where it does not exist, with the folders above it.

    Returns:
        the files that were written.

    Raises:
        SettingError: when the folder has files already, or is a file.
        OSError: when it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     [path.name for path in init_search_bundle(Path(place) / "ronas") if path.parent.name == "configs"]
        ['logging.conf', 'metadata.json', 'multi_gpu_search.json', 'ronasmis.json', 'search.json']
    """
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise SettingError(f"'{folder}' is a file: give the name of a new folder.")
    if root.is_dir() and any(root.iterdir()):
        raise SettingError(f"the folder '{folder}' is not empty: give another.")
    sources = sorted(path for pattern in _FILES for path in _CARRIED.glob(pattern))
    if not sources:
        raise SettingError(f"the package lacks the search bundle ('{_CARRIED}' has no files): install it again.")
    targets = [root / path.relative_to(_CARRIED) for path in sources]
    for source, target in zip(sources, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return targets

# SPDX-License-Identifier: Apache-2.0
"""One labelled volume of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes:
        name: what tells it from the others: see :func:`~monai_ronas.data.case_names.case_names`.
        image: path of the image: a file, or a folder with a DICOM series; several are its channels.
        label: path of the label file.

    Example:
        >>> Case("a", (Path("a_t1.nrrd"), Path("a_t2.nrrd")), Path("a.nrrd")).item()
        {'image': ['a_t1.nrrd', 'a_t2.nrrd'], 'label': 'a.nrrd'}
    """

    name: str
    image: Path | tuple[Path, ...]
    label: Path

    @property
    def images(self) -> tuple[Path, ...]:
        """Paths of the image, one or several."""
        return self.image if isinstance(self.image, tuple) else (self.image,)

    def item(self) -> dict[str, str | list[str]]:
        """The paths as transforms take them."""
        images = [str(path) for path in self.images]
        return {"image": images if len(images) > 1 else images[0], "label": str(self.label)}

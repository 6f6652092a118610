# SPDX-License-Identifier: Apache-2.0
"""The errors raised for data that cannot be used."""

from __future__ import annotations

from monai_ronas.errors import DatasetError, VolumeError

__all__ = ["DatasetError", "Fault", "VolumeError"]


class Fault(Exception):
    """What is wrong with a volume, in words that do not name its file; it becomes a :class:`VolumeError`."""

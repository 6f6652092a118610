# SPDX-License-Identifier: Apache-2.0
"""Faults of the data behind the errors of others."""

from __future__ import annotations

from monai_ronas.data import DatasetError


def data_fault(error: BaseException) -> DatasetError | None:
    """The fault of the data behind an error: MONAI wraps what a transform raises in errors of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DatasetError):
        cause = cause.__cause__
    return cause

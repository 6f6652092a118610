# SPDX-License-Identifier: Apache-2.0
"""The error raised for a data set that cannot be used."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data set, or a way of splitting it, that cannot be used.

    The message is one clear sentence that says what is wrong and what to do; it is meant to be shown to the user
    without a traceback.
    """

# SPDX-License-Identifier: Apache-2.0
"""The errors raised for data that cannot be used."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data set, or a way of splitting it, that cannot be used.

    The message is one clear sentence that says what is wrong and what to do; it is meant to be shown to the user
    without a traceback.
    """


class VolumeError(DatasetError):
    """An image or a label that cannot be used; the sentence begins with the name of its file."""


class Fault(Exception):
    """What is wrong with a volume, in words that do not name its file."""

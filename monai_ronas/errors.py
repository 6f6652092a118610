# SPDX-License-Identifier: Apache-2.0
"""The errors that are no fault of the program's: one tree, so that a caller can catch them all as :class:`RonasError`.

On the command line each is told as its sentence, without a traceback: see :mod:`monai_ronas.bundle.command_line`.
MONAI's ``ConfigParser`` wraps what a component raises in a ``RuntimeError``; :func:`find_error` gives what is in it.
"""

from __future__ import annotations


class RonasError(Exception):
    """Something that the user can mend. The message is one clear sentence that says what is wrong and what to do."""


class SettingError(RonasError, ValueError):
    """A setting or an argument that cannot be used."""


class DatasetError(RonasError, ValueError):
    """A data set, or a way of splitting it, that cannot be used."""


class VolumeError(DatasetError):
    """An image or a label that cannot be used; the sentence begins with the name of its file."""


class TrainingError(RonasError, RuntimeError):
    """A training that cannot go on."""


def find_error(error: BaseException | None) -> RonasError | None:
    """The error of this package in the errors that others have made of it.

    Args:
        error: the error that was caught.

    Returns:
        itself, or the first of its causes that is a :class:`RonasError`; None where there is none.

    Example:
        >>> try:
        ...     raise RuntimeError("Failed to instantiate") from DatasetError("there is no dataset.json.")
        ... except RuntimeError as error:
        ...     find_error(error)
        DatasetError('there is no dataset.json.')
    """
    while error is not None and not isinstance(error, RonasError):
        error = error.__cause__
    return error

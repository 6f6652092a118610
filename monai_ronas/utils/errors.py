# SPDX-License-Identifier: Apache-2.0
"""Errors that are no fault of the program's."""


class TrainingError(RuntimeError):
    """A training that cannot go on; the message says what to do."""

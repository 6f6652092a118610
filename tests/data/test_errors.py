# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from monai_ronas.data import DatasetError


def test_is_a_value_error_with_its_sentence():
    assert issubclass(DatasetError, ValueError)
    assert str(DatasetError("Too few cases.")) == "Too few cases."

# SPDX-License-Identifier: Apache-2.0
import logging

import pytest

from monai_ronas.bundle import validation_dataset

VALIDATION, TRAINING = [{"image": 1}, {"image": 2}], [{"image": 3}]


@pytest.mark.parametrize(("data", "expected"), [(VALIDATION, [10, 20]), ([], [30])])
def test_training_cases_judge_where_there_are_no_others(data, expected, caplog):
    with caplog.at_level(logging.WARNING):
        judged = validation_dataset(data, TRAINING, lambda case: {"image": 10 * case["image"]})
    assert [case["image"] for case in judged] == expected
    assert ("no validation cases: the 1 training cases decide" in caplog.text) == (not data)

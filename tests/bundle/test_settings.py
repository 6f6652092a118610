# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.bundle import Settings

PLAIN = {"resume": True, "amp": False, "fold": 0, "time_budget_minutes": 12, "memory_budget_gb": None}


def test_words_of_the_command_line_are_taken_for_what_they_say():
    given = Settings(resume="false", amp="True", fold="null", time_budget_minutes="None", memory_budget_gb="null")
    assert given == Settings(resume=False, amp=True, fold=None, time_budget_minutes=None, memory_budget_gb=None)
    assert Settings(**PLAIN).time_budget_minutes == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resume": "maybe"}, "resume must be true or false, got 'maybe'"),
        ({"flip_axes": [0, 3]}, "flip_axes must be a list of axes, each of 0, 1 and 2 at most once, got"),
        ({"flip_axes": [1, 1]}, "flip_axes must be a list of axes"),
        ({"flip_axes": 0.5}, "flip_axes must be a list of axes"),
        ({"augment": "perhaps"}, "augment must be true or false, got 'perhaps'"),
        ({"amp": 1}, "amp must be true or false, got 1"),
        ({"time_budget_minutes": -1}, "time_budget_minutes must be a positive number or null, got -1"),
        ({"time_budget_minutes": "soon"}, "time_budget_minutes must be a positive number or null, got 'soon'"),
        ({"memory_budget_gb": 0}, "memory_budget_gb must be a positive number or null, got 0"),
    ],
)
def test_other_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{**PLAIN, **change})

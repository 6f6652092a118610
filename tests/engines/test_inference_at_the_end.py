# SPDX-License-Identifier: Apache-2.0
"""The choice of one shot or windows as a part of the search's end."""

import math

import pytest
from ignite.engine import Events

from monai_ronas.utils import InferenceChoice
from tests.engines.scripted import Scorer, ScriptedBudget, ScriptedTester, make_end


class Given:
    """A choice that is given; remembers the architectures that it was made for."""

    def __init__(self, choice):
        self.choice, self.asked = choice, []

    def is_open(self, architecture):
        return True

    def estimated_seconds(self, architecture, seconds):
        return 7.0

    def spend(self):
        """Nothing: the comparison takes no time."""

    def __call__(self, architecture):
        self.asked.append(architecture)
        self.spend()
        return self.choice


@pytest.mark.parametrize("windows", [True, False])
def test_a_search_ends_with_the_choice(windows):
    mode = Given(InferenceChoice(windows, "because"))
    end = make_end(Scorer(), inference=mode)
    result = end.run()
    assert result.inference == mode.choice
    assert mode.asked == [result.architecture]
    assert end.budget.reserve == 8.0 + 7.0
    assert result.remark == ("in one shot" if windows else "")


@pytest.mark.parametrize(
    ("windows", "seconds", "scored"),
    [(True, 4.0, 1), (True, 3.0, 2), (True, 8.0, 0), (True, math.nan, 8), (False, 4.0, 8)],
)
def test_of_the_test_cases_the_fewer_are_scored_in_windows(caplog, windows, seconds, scored):
    """Of a minute the comparison and the test have 10 s; the former takes 3 of them."""
    budget = ScriptedBudget(1, reserve=0.0)
    mode = Given(InferenceChoice(windows, "because", seconds=seconds))
    tester = ScriptedTester(budget, seconds=seconds if windows and seconds > 0 else 0.8)
    mode.spend, tester.estimated_seconds = lambda: setattr(budget, "now", budget.now + 3.0), lambda s: s or 0.8
    end = make_end(Scorer(), inference=mode, tester=tester, budget=budget, final_cases=3, best_child=False)
    end.race._is_worth = lambda first: False

    def train():
        budget.now += 1.0

    end.slices.trainer.add_event_handler(Events.ITERATION_STARTED, train)
    result = end.run()
    assert result.steps == 50
    assert (0 if result.test is None else len(result.test.per_case)) == scored
    assert (f"Dice on {scored} of the 8 test cases" in caplog.text) == (0 < scored < 8)
    assert ("left to evaluate.json: one would take about 8 s" in caplog.text) == (scored == 0)
    assert budget.elapsed() <= 60.0

# SPDX-License-Identifier: Apache-2.0
import time

import psutil
import pytest

from monai_ronas.utils import TimeBudget


def test_a_command_counts_from_the_start_of_its_process(monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "monai.bundle", "run", "search"])
    budget = TimeBudget(2)
    running = time.time() - psutil.Process().create_time()
    assert budget.elapsed() == pytest.approx(running, abs=0.5)
    budget.spent_before = 30.0
    assert budget.elapsed() == pytest.approx(running + 30.0, abs=0.5)


def test_a_notebook_counts_from_now(monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "ipykernel_launcher"])
    assert TimeBudget(2).elapsed() == pytest.approx(0.0, abs=0.5)


def test_shares_leave_the_reserve():
    budget = TimeBudget(2, reserve=20.0)
    assert budget.until(0.5) == 50.0
    assert budget.until(1.0) == 100.0
    budget.keep(10.0)
    assert budget.until(1.0) == 90.0
    assert TimeBudget(0.1, reserve=20.0).until(1.0) == 0.0
    assert TimeBudget(None).until(1.0) is None


@pytest.mark.parametrize("minutes", [0, -1.5])
def test_budget_must_be_positive(minutes):
    with pytest.raises(ValueError, match=f"time_budget_minutes must be positive or null, got {minutes}"):
        TimeBudget(minutes)

# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
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


@pytest.mark.parametrize(("imports", "reserve"), [(0.5, 4.0), (6.5, 6.5), (60.0, 12.0)])
def test_a_command_keeps_for_the_export_what_its_imports_took(monkeypatch, imports, reserve):
    begin = psutil.Process().create_time()
    monkeypatch.setattr("monai_ronas.utils.clock._IMPORTED", begin + imports)
    assert TimeBudget(2).reserve == 8.0  # not a command: its pace is not known
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "monai.bundle", "run", "search"])
    assert TimeBudget(2).reserve == pytest.approx(reserve)
    assert TimeBudget(2, reserve=20.0).reserve == 20.0


def test_shares_leave_the_reserve():
    budget = TimeBudget(2, reserve=20.0)
    assert budget.until(0.5) == 50.0
    assert budget.until(1.0) == 100.0
    budget.keep(10.0)
    assert budget.until(1.0) == 90.0
    assert TimeBudget(0.1, reserve=20.0).until(1.0) == 0.0
    assert TimeBudget(None).until(1.0) is None


def test_what_a_killed_run_has_spent_counts(tmp_path):
    path = tmp_path / "made" / "seconds.json"
    child = os.fork()
    if not child:
        budget = TimeBudget(2)
        budget.spent_before = 50.0
        budget.record(path, every_seconds=0.05)
        time.sleep(60)
    while not path.exists() or json.loads(path.read_text())["seconds"] < 50.5:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    noted = json.loads(path.read_text())["seconds"]
    assert noted < 60
    budget = TimeBudget(2)
    budget.record(path)
    assert budget.spent_before == noted
    budget.end_record()
    assert json.loads(path.read_text())["seconds"] == pytest.approx(budget.elapsed(), abs=0.5)
    over = TimeBudget(2)
    over.record(path, resume=False)
    assert over.spent_before == 0.0
    over.end_record()
    path.write_text("")  # as a power cut may leave it
    lost = TimeBudget(2)
    lost.record(path)
    assert lost.spent_before == 0.0
    lost.end_record()


@pytest.fixture
def clock(monkeypatch):
    """The time of day, a list of one number that a test moves."""
    now = [1000.0]
    monkeypatch.setattr("sys.orig_argv", ["python"])
    monkeypatch.setattr("monai_ronas.utils.clock.time.time", lambda: now[0])
    return now


def test_the_parts_add_up_to_the_time_spent(clock):
    budget = TimeBudget(60)
    for part, seconds in (("plan", 3.0), ("race", 5.0), ("race", 2.0), ("final training", 20.0), ("race", 1.0)):
        budget.enter(part)
        clock[0] += seconds
    assert budget.part == "race"
    assert budget.spent() == {"start and checks": 0.0, "plan": 3.0, "race": 8.0, "final training": 20.0}
    assert sum(budget.spent().values()) == budget.elapsed() == 31.0


def test_the_parts_of_earlier_runs_are_counted(clock, tmp_path):
    path = tmp_path / "seconds.json"
    first = TimeBudget(60)
    first.record(path)
    first.enter("race")
    clock[0] += 7.0
    first.end_record()
    assert json.loads(path.read_text()) == {"seconds": 7.0, "parts": {"start and checks": 0.0, "race": 7.0}}
    second = TimeBudget(60)
    second.record(path)
    clock[0] += 2.0
    second.enter("race")
    clock[0] += 3.0
    assert second.spent() == {"start and checks": 2.0, "race": 10.0}
    assert sum(second.spent().values()) == second.elapsed() == 12.0
    second.end_record()


def test_time_of_which_nothing_is_noted_is_told_apart(clock, tmp_path):
    path = tmp_path / "seconds.json"
    path.write_text(json.dumps({"seconds": 40.0}))  # as version 0.1 left it
    budget = TimeBudget(60)
    budget.record(path)
    clock[0] += 2.0
    assert budget.spent() == {"earlier runs": 40.0, "start and checks": 2.0}
    budget.end_record()


@pytest.mark.parametrize("minutes", [0, -1.5])
def test_budget_must_be_positive(minutes):
    with pytest.raises(ValueError, match=f"time_budget_minutes must be positive or null, received {minutes}"):
        TimeBudget(minutes)

# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.handlers import ChildTraining, HistoryWriter, SearchReport, WarmUp
from monai_ronas.utils import TimeBudget
from tests.engines.scripted import Scorer, make_end
from tests.toys import toy_slices
from tests.visualize.cases import make_facts, make_result


@pytest.fixture
def written(monkeypatch):
    """The arguments of every report, none of which is written."""
    calls = []

    def write(folder, **facts):
        calls.append(facts)
        return folder / "search_report.html"

    monkeypatch.setattr("monai_ronas.handlers.report.write_report", write)
    return calls


def make_report(folder, budget, network=None, **more):
    facts = make_facts()
    network = network or facts["network"]
    return SearchReport(folder, network=network, study=facts["study"], plan=facts["plan"], budget=budget, **more)


def test_every_part_of_a_search_is_shown_when_it_begins(make_engine, tmp_path, written):
    slices, budget = toy_slices(), TimeBudget(None)
    report = make_report(tmp_path, budget, slices.network, share=1e-9)
    handlers = [
        WarmUp(slices, slices.network.space, budget, steps=3),
        ChildTraining(slices, budget),
        HistoryWriter(tmp_path / "history.jsonl"),
        report,
    ]
    engine = make_engine(slices, handlers, episodes=2)
    engine.run()
    assert [call["doing"] for call in written] == ["episodes"]
    assert list(written[0]["spent"]) == ["start and checks", "warm-up", "episodes"]
    end = make_end(Scorer(), slices=slices, budget=budget, report=report)
    result = end.run()
    assert [call["doing"] for call in written] == ["episodes", "race", "final training", "last scores"]
    assert [len(call["history"]) for call in written] == [0, 4, 4, 4]
    assert [len(call["trace"]) for call in written] == [2] * 4  # the same list throughout
    assert [len(call["candidates"]) for call in written] == [0, 0, len(result.candidates), len(result.candidates)]
    assert written[-1]["candidates"] == result.candidates
    assert all(call["result"] is None for call in written)
    curves = [c["curve"] for c in result.candidates if c["trained"]]
    assert curves
    for curve, candidate in zip(curves, [c for c in result.candidates if c["trained"]], strict=True):
        assert curve[-1] == [candidate["trained"], candidate["reward"]]
    assert list(budget.spent()) == ["start and checks", "warm-up", "episodes", "race", "final training", "last scores"]


@pytest.mark.parametrize(("minutes", "shown"), [(1, 0), (10, 1)])
def test_a_short_search_has_no_time_for_reports_on_its_way(tmp_path, written, minutes, shown):
    report = make_report(tmp_path, TimeBudget(minutes))
    report.seconds = 1.0
    report.update()
    assert len(written) == shown


def test_without_a_share_there_is_no_report_on_the_way(tmp_path, written):
    report = make_report(tmp_path, TimeBudget(None), share=0.0)
    report.update()
    assert not written


def test_within_a_part_reports_take_no_more_than_their_share(tmp_path, written):
    budget = TimeBudget(None)
    report = make_report(tmp_path, budget)
    report.update()  # the part begins
    report.seconds = 2.0
    budget.spent_before = 195.0
    report.update()
    assert len(written) == 1
    budget.spent_before = 205.0
    report.update()
    assert len(written) == 2


def test_the_time_of_the_last_report_on_the_way_is_kept_from_the_final_training(written, tmp_path):
    budget = TimeBudget(None)
    end = make_end(Scorer(), budget=budget, report=make_report(tmp_path, budget))
    reserve = budget.reserve
    end.run()
    assert 0 < budget.reserve - reserve < 5


def test_the_end_is_written_with_the_planes_of_the_cases_that_are_told(tmp_path, written):
    class Planes:
        def __init__(self, cases):
            self.cases = cases

    result = make_result()
    tests = [f"test {n}" for n in range(len(result.test.per_case))]
    rewards = [f"reward {n}" for n in range(len(result.score.per_case))]
    report = make_report(tmp_path, TimeBudget(None), test_planes=Planes(tests), reward_planes=Planes(rewards))
    assert report.finish(result) == tmp_path / "search_report.html"
    report.collect(make_result(test=None))
    report.finish(make_result(test=None))
    assert [call["planes"] for call in written] == [tests, rewards]
    assert written[0]["result"] is result
    assert written[0]["candidates"] == result.candidates


@pytest.mark.parametrize(("seconds", "over"), [(62.0, False), (75.6, True)])
def test_a_search_that_took_longer_than_its_budget_says_so(tmp_path, written, caplog, seconds, over):
    budget = TimeBudget(1.0)
    budget.spent_before = seconds - budget.elapsed()
    make_report(tmp_path, budget).finish(make_result())
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    where = "more than its time budget of 1 min 0 s; the report says on what"
    assert (len(told), over) in ((0, False), (1, True))
    if over:
        assert told[0].startswith("the search took 1 min 1")
        assert told[0].endswith(where)


def test_a_page_is_written_without_any_episode(tmp_path):
    budget = TimeBudget(None)
    budget.enter("race")
    make_report(tmp_path, budget).update()
    assert "it was in this part: race." in (tmp_path / "search_report.html").read_text()

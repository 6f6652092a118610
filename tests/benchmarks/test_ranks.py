# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from tests.benchmarks.ranks import Times, efficiencies, ends_at, recorded_costs, seconds, table

RANKS = [1, 2, 3, 4, 8]
EVEN = {"spread": 0.0, "costs": (1.0,), "gb_per_second": 1e9, "latency": 0.0}


def test_equal_jobs_lose_what_their_number_leaves_over():
    times = Times(**EVEN, step=0.0, case=1.0, turn=0.0, children=4, cases=6, contenders=3, race_cases=8)
    found = {name: efficiencies(spent, RANKS) for name, spent in seconds(times, RANKS).items() if "final" not in name}
    assert found["race, a contender a process"] == pytest.approx([1, 1, 8 / 9, 1, 1])
    assert found["episodes, a candidate a process"] == pytest.approx([1, 1, 2 / 3, 1, 0.5])
    assert found["episodes, steps shared"] == pytest.approx([1, 1, 1, 0.75, 0.75])


def test_contenders_side_by_side_save_time_where_shared_steps_save_none():
    times = Times(**EVEN, step=1e-9, case=0.0, turn=60.0, contenders=4)
    found = seconds(times, RANKS)
    assert found["race, a contender a process"] == pytest.approx([240, 120, 120, 60, 60])
    assert found["race, steps shared"] == pytest.approx([240] * 5)
    assert ends_at(found["race, a contender a process"], RANKS) == 2
    assert ends_at(found["race, steps shared"], RANKS) == 1


def test_shared_steps_lose_what_their_exchange_takes():
    times = Times(step=1.0, weights_gb=1.0, gb_per_second=1.0, latency=0.5)
    spent = seconds(times, [1, 2, 4])["final training, steps shared"]
    assert spent == pytest.approx([1.0, (1 + 1 + 1) / 2, (1 + 1.5 + 3) / 4])


def test_recorded_times_count_by_their_mean(tmp_path):
    path = tmp_path / "history.jsonl"
    lines = [{"seconds": 1.0, "status": "ok"}, {"seconds": 9.0, "status": "oom"}, {"seconds": 3.0, "status": "ok"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert recorded_costs(path) == (0.5, 1.5)
    path.write_text(json.dumps(lines[1]))
    with pytest.raises(ValueError, match="has no child that was scored"):
        recorded_costs(path)


def test_the_table_has_a_line_for_each_part():
    lines = table(seconds(Times(), [1, 2]), [1, 2]).splitlines()
    assert len(lines) == 7
    assert lines[2].startswith("| race, a contender a process | 1.00 | 0.9")

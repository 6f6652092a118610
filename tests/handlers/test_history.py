# SPDX-License-Identifier: Apache-2.0
import json

from monai_ronas.handlers import ChildTraining, HistoryWriter, read_history
from tests.toys import toy_slices


def test_one_line_a_child(make_engine, tmp_path):
    slices = toy_slices()
    path = tmp_path / "made" / "history.jsonl"
    engine = make_engine(slices, [ChildTraining(slices), HistoryWriter(path)])
    engine.run()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(h["episode"], h["child"]) for h in lines] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [h["reward"] for h in lines] == [2.0, 4.0, 6.0, 8.0]
    assert lines[-1] == {
        "episode": 2,
        "child": 2,
        "architecture": json.loads(engine.state.architecture.to_json()),
        "id": engine.state.architecture.id,
        "reward": 8.0,
        "cases": engine.scorer.cases,
        "seconds": 0.25,
        "peak_memory_mb": 10.0,
        "status": "ok",
    }


def test_failed_child_is_recorded_without_a_reward(make_engine, tmp_path):
    engine = make_engine(toy_slices(), [HistoryWriter(tmp_path / "h.jsonl")], episodes=1)
    engine.scorer.fail = True
    engine.run()
    assert [(h["reward"], h["status"]) for h in read_history(tmp_path / "h.jsonl")] == [(None, "failed")] * 2


def test_lines_of_an_unfinished_episode_are_written_again(make_engine, tmp_path):
    path = tmp_path / "h.jsonl"
    make_engine(toy_slices(), [HistoryWriter(path)], episodes=1).run()
    kept = path.read_text()
    with path.open("a") as file:
        file.write(json.dumps({"episode": 2, "child": 1}) + "\n" + '{"episode": 2, "chi')
    assert len(read_history(path)) == 3
    engine = make_engine(toy_slices(), [HistoryWriter(path)], episodes=2)
    engine.state.epoch = 1
    engine.run()
    assert path.read_text().startswith(kept)
    assert [(h["episode"], h["child"]) for h in read_history(path)] == [(1, 1), (1, 2), (2, 1), (2, 2)]

# SPDX-License-Identifier: Apache-2.0
"""Searches that go on under other limits than those of their checkpoints."""

import json
import re

import pytest
import torch
from ignite.engine import Events

from monai_ronas.handlers.continuation import has_finished, has_other_limits
from tests.handlers.searches import BEFORE, finish, long_search, search


@pytest.mark.parametrize("stretch", ["race", "final training"])
def test_more_episodes_go_on_behind_the_last_one_and_not_behind_it(make_engine, tmp_path, stretch, caplog):
    stop_at = {"race": BEFORE + 8, "final training": BEFORE + 29}[stretch]
    run, _, checkpoint, _ = long_search(make_engine, tmp_path, stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt):
        run()
    newest, *others = checkpoint.files()
    assert stretch in torch.load(newest, weights_only=True)["interrupted"]
    assert "episode_00001.pt" in {path.name for path in others}
    again, _, checkpoint, made = long_search(make_engine, tmp_path, episodes=2, every_seconds=3600)
    assert again()[0]
    assert len(made) == 4 + 30
    lost = int(re.search(r"(?:chosen, of |it \()(\d+) steps", caplog.text)[1])
    assert 0 < lost <= {"race": 8, "final training": 30}[stretch]
    assert ("a new race and a new final training" in caplog.text) == (stretch == "final training")
    assert "its bundle stays" not in caplog.text
    assert [path.name for path in checkpoint.files()[:2]] == ["episode_00002_part_00000000.pt", "episode_00002.pt"]


def test_after_its_end_a_search_with_more_final_epochs_trains_on_from_its_last_weights(make_engine, tmp_path):
    run, slices, checkpoint, _ = long_search(make_engine, tmp_path)
    _, first = run()
    assert len(checkpoint.files()) == 3
    engine, _, _ = search(make_engine, tmp_path / "other", 1)
    finish(checkpoint, engine, slices)
    newest, *others = checkpoint.files()
    assert list(torch.load(newest, weights_only=True)["interrupted"]) == ["final training"]
    assert [path.name for path in others] == ["episode_00001.pt"]
    weights = {name: value.clone() for name, value in slices.network.state_dict().items()}
    again, _, checkpoint, _ = long_search(make_engine, tmp_path)
    with pytest.raises(ValueError, match="has finished"):
        again()
    longer, slices, checkpoint, more = long_search(make_engine, tmp_path, final_steps=40, seed=3)
    rates, starts = [], []

    def look():
        if not starts:
            starts.append({name: value.clone() for name, value in slices.network.state_dict().items()})

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, look)

    def note():
        group = slices.trainer.optimizer.param_groups[0]
        rates.append(group["lr"] / group["initial_lr"])

    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    found, result = longer()
    assert found
    assert all(torch.equal(starts[0][name], value) for name, value in weights.items())
    assert (len(more), result.steps) == (10, first.steps + 10)
    assert (result.architecture, result.candidates) == (first.architecture, first.candidates)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] < 1


def test_after_its_end_more_episodes_lead_to_a_new_race_and_say_so(make_engine, tmp_path, caplog):
    run, slices, checkpoint, _ = long_search(make_engine, tmp_path)
    _, first = run()
    finish(checkpoint, search(make_engine, tmp_path / "other", 1)[0], slices)
    again, _, _, made = long_search(make_engine, tmp_path, episodes=2)
    assert again()[0]
    assert len(made) == 4 + 30
    assert (
        f"the one that was chosen, of {first.steps} steps, is given up; its bundle stays until the new" in caplog.text
    )
    again, _, _, made = long_search(make_engine, tmp_path, episodes=2)  # as if it had been stopped in its last scores
    assert again()[0]
    assert made == []


@pytest.mark.parametrize("episodes", [1, 2])
def test_a_time_that_is_taken_away_in_the_final_training_is_asked_for(make_engine, tmp_path, episodes):
    run, _, checkpoint, _ = long_search(make_engine, tmp_path, stop_at=BEFORE + 29)
    with pytest.raises(KeyboardInterrupt):
        run()
    newest = checkpoint.files()[0]
    state = torch.load(newest, weights_only=True)
    state["limits"]["seconds"] = 240.0
    torch.save(state, newest)
    with pytest.raises(ValueError, match="ends with its time: give time_budget_minutes, which was 4, or another"):
        long_search(make_engine, tmp_path, episodes=episodes)[0]()
    assert newest.exists()


@pytest.mark.parametrize(("made", "given_up"), [(0, False), (40, False), (150, True)])
def test_more_episodes_cost_the_final_training_only_where_it_was_their_number_that_ended_them(made, given_up):
    then = {"episodes": 150, "seconds": 240.0, "final_epochs": 45}
    state = {"limits": then, "interrupted": {"final training": {}}, "engine": {"epoch": made}}
    assert has_other_limits(state, {**then, "episodes": 200}) == given_up
    assert not has_other_limits(state, {**then, "seconds": 480.0})


@pytest.mark.parametrize(("before", "now"), [((8, None), (150, 240.0)), ((150, 240.0), (8, None))])
def test_the_final_training_goes_on_where_only_then_or_only_now_there_is_a_time(before, now):
    then, limits = ({"episodes": e, "seconds": s, "final_epochs": 45} for e, s in (before, now))
    state = {"limits": then, "interrupted": {"final training": {}}, "engine": {"epoch": before[0]}}
    assert not has_other_limits(state, limits)


@pytest.mark.parametrize(
    ("then", "now", "finished"),
    [
        ({"seconds": 60.0}, {"seconds": 60.0}, True),
        ({"seconds": 60.0}, {"seconds": 60.0, "final_epochs": 90}, True),
        ({"seconds": 60.0}, {"seconds": 60.0, "episodes": 200}, True),
        ({"seconds": 60.0}, {"seconds": 90.0}, False),
        ({"seconds": 60.0}, {"seconds": None}, False),
        ({"seconds": None}, {"seconds": None, "final_epochs": 90}, False),
        ({"seconds": None}, {"seconds": None, "episodes": 200}, False),
        ({"seconds": None}, {"seconds": 60.0}, False),
    ],
)
def test_a_search_has_finished_within_the_limits_that_rule(tmp_path, then, now, finished):
    usual = {"episodes": 150, "seconds": None, "final_epochs": 45}
    mark = tmp_path / "finished.json"
    mark.write_text(json.dumps({"identity": {"seed": 0}, "limits": {**usual, **then}}))
    assert has_finished(mark, {"seed": 0}, {**usual, **now}) == finished
    assert not has_finished(mark, {"seed": 1}, {**usual, **now})


def test_a_finished_search_whose_new_time_leaves_none_to_train_on_keeps_its_bundle(make_engine, tmp_path):
    run, slices, checkpoint, _ = long_search(make_engine, tmp_path)
    run()
    finish(checkpoint, search(make_engine, tmp_path / "other", 1)[0], slices)
    mark = tmp_path / "finished.json"
    ended = json.loads(mark.read_text())
    assert ended["steps"] == slices.steps
    ended["limits"]["final_epochs"] -= 1  # so that it may go on, and has nothing left to do
    mark.write_text(json.dumps(ended))
    again, _, _, made = long_search(make_engine, tmp_path)
    with pytest.raises(ValueError, match="leaves nothing to train on: give more final_epochs"):
        again()
    assert made == []
    mark.write_text(json.dumps({**ended, "steps": 1}))  # stopped in its last scores, after more training
    assert long_search(make_engine, tmp_path)[0]()[0]


def test_fewer_episodes_do_not_cost_the_final_training(make_engine, tmp_path, caplog):
    run, _, _, first = long_search(make_engine, tmp_path, stop_at=BEFORE + 4 + 26, episodes=2)
    with pytest.raises(KeyboardInterrupt):
        run()
    again, _, _, rest = long_search(make_engine, tmp_path, episodes=1)
    assert again()[0]
    assert len(first) + len(rest) <= BEFORE + 4 + 30 + 2  # a slice twice
    assert "given up" not in caplog.text


def test_a_search_without_episodes_that_saw_the_reward_cases_is_not_gone_on_with(make_engine, tmp_path):
    run, _, _, _ = long_search(make_engine, tmp_path, episodes=0, stop_at=25)
    with pytest.raises(KeyboardInterrupt):
        run()
    again, _, _, made = long_search(make_engine, tmp_path)
    assert not again()[0]
    assert len(made) == BEFORE + 30


def test_checkpoints_of_other_limits_do_not_outlive_what_comes_after(make_engine, tmp_path):
    run, _, before, _ = long_search(make_engine, tmp_path, stop_at=BEFORE + 26)
    with pytest.raises(KeyboardInterrupt):
        run()
    old = before.files()[0].read_bytes()
    more, _, checkpoint, _ = long_search(make_engine, tmp_path, stop_at=4 + 26, episodes=2)
    with pytest.raises(KeyboardInterrupt):
        more()
    newest, *others = checkpoint.files()
    assert newest.read_bytes() != old
    assert {"episode_00002.pt", "episode_00001.pt"} <= {path.name for path in others}
    state = torch.load(newest, weights_only=True)
    assert (state["engine"]["epoch"], state["limits"]["episodes"]) == (2, 2)

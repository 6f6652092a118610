# SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import Exploitation
from monai_ronas.handlers import ChildTraining, SearchCheckpoint, WarmUp
from monai_ronas.utils import ChildScore, SearchResult, TimeBudget
from tests.toys import toy_slices

IDENTITY = {"seed": 0, "space": "toy"}


def search(make_engine, directory, episodes, *, identity=IDENTITY, resume=True, seed=0):
    slices = toy_slices(seed=seed)
    checkpoint = SearchCheckpoint(directory, slices, TimeBudget(None), identity=identity, resume=resume)
    handlers = [ChildTraining(slices), checkpoint]
    return make_engine(slices, handlers, episodes, seed=seed), slices, checkpoint


def test_two_newest_are_kept(make_engine, tmp_path):
    engine, _, checkpoint = search(make_engine, tmp_path, 4)
    engine.run()
    assert [p.name for p in checkpoint.files()] == ["episode_00004.pt", "episode_00003.pt"]
    assert {p.name for p in tmp_path.iterdir()} == {"episode_00004.pt", "episode_00003.pt"}


def test_continued_search_is_the_uninterrupted_one(make_engine, tmp_path):
    whole, whole_slices, _ = search(make_engine, tmp_path / "a", 3)
    whole.run()
    first, _, _ = search(make_engine, tmp_path / "b", 1)
    first.run()
    random.random()
    np.random.random()  # noqa: NPY002 - the state that MONAI draws from
    torch.rand(3)
    second, slices, checkpoint = search(make_engine, tmp_path / "b", 3, seed=9)
    assert checkpoint.load(second)
    assert second.state.epoch == 1
    assert checkpoint.budget.spent_before > 0
    second.run()
    assert [t["probabilities"] for t in second.state.trace] == [t["probabilities"] for t in whole.state.trace]
    for name, value in whole_slices.network.state_dict().items():
        assert torch.equal(slices.network.state_dict()[name], value), name


def test_random_states_are_restored(make_engine, tmp_path):
    engine, _, checkpoint = search(make_engine, tmp_path, 1)
    engine.run()
    expected = random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
    assert checkpoint.load(engine)
    assert (random.random(), np.random.random(), torch.rand(1)) == expected  # noqa: NPY002


def test_a_damaged_newest_one_falls_back_and_says_so(make_engine, tmp_path, caplog):
    engine, _, checkpoint = search(make_engine, tmp_path, 2)
    engine.run()
    newest = checkpoint.files()[0]
    newest.write_bytes(newest.read_bytes()[:100])
    again, _, checkpoint = search(make_engine, tmp_path, 2)
    assert checkpoint.load(again)
    assert again.state.epoch == 1
    assert "episode_00002.pt cannot be read" in caplog.text


def test_files_that_a_killed_process_left_half_written_are_removed(make_engine, tmp_path):
    engine, _, checkpoint = search(make_engine, tmp_path, 1)
    engine.run()
    (tmp_path / ".episode_00002.pt.x1y2").write_bytes(b"half")
    assert checkpoint.load(engine)
    assert [path.name for path in tmp_path.iterdir()] == ["episode_00001.pt"]


def test_nothing_to_continue(make_engine, tmp_path):
    engine, _, checkpoint = search(make_engine, tmp_path / "none", 1)
    assert not checkpoint.load(engine)


def test_another_search_is_refused_with_the_difference_named(make_engine, tmp_path):
    engine, _, _ = search(make_engine, tmp_path, 1)
    engine.run()
    other, _, checkpoint = search(make_engine, tmp_path, 1, identity={**IDENTITY, "seed": 1})
    with pytest.raises(ValueError, match="another seed: give another output_dir, or resume=false"):
        checkpoint.load(other)


def test_starting_over_removes_the_old_checkpoints(make_engine, tmp_path):
    engine, _, _ = search(make_engine, tmp_path, 1)
    engine.run()
    other, _, checkpoint = search(make_engine, tmp_path, 1, resume=False)
    assert not checkpoint.load(other)
    assert checkpoint.files() == []


def finish(checkpoint, engine, slices):
    score = ChildScore(0.5, (0.5,), 1.0, 1.0)
    checkpoint.keep_final(SearchResult(slices.network.space.largest, score, steps=7))
    checkpoint.finish(engine)


def test_the_last_weights_come_back(make_engine, tmp_path):
    engine, slices, checkpoint = search(make_engine, tmp_path, 1)
    with pytest.raises(ValueError, match="holds no finished search"):
        checkpoint.load_final()
    engine.run()
    finish(checkpoint, engine, slices)
    expected = {k: v.clone() for k, v in slices.network.state_dict().items()}
    _, other, checkpoint = search(make_engine, tmp_path, 1, identity={**IDENTITY, "memory_budget_gb": 4}, seed=5)
    chosen, steps, seconds = checkpoint.load_final()
    assert (chosen, steps) == (other.network.space.largest, 7)
    assert 0 < seconds < 3600
    assert all(torch.equal(expected[k], v) for k, v in other.network.state_dict().items())
    _, _, checkpoint = search(make_engine, tmp_path, 1, identity={**IDENTITY, "seed": 4})
    with pytest.raises(ValueError, match="another seed"):
        checkpoint.load_final()


def test_a_finished_search_is_not_run_again_unless_it_may_go_on(make_engine, tmp_path):
    engine, slices, checkpoint = search(make_engine, tmp_path, 1)
    engine.run()
    finish(checkpoint, engine, slices)
    same, _, checkpoint = search(make_engine, tmp_path, 1)
    with pytest.raises(ValueError, match="has finished: its bundle is there"):
        checkpoint.load(same)
    longer, _, checkpoint = search(make_engine, tmp_path, 2)
    assert checkpoint.load(longer)
    over, _, checkpoint = search(make_engine, tmp_path, 1, resume=False)
    assert not checkpoint.load(over)
    assert list(tmp_path.iterdir()) == []


def long_search(make_engine, directory, *, every_seconds=0.0, seed=0, stop_at=None, episodes=1):
    """Warm-up, an episode and the end of a search, each of several slices; interrupted before a step."""
    slices = toy_slices(seed=seed)
    slices.draw_from(2)  # the third case joins the final training
    space, budget = slices.network.space, TimeBudget(None)
    checkpoint = SearchCheckpoint(directory, slices, budget, identity=IDENTITY, every_seconds=every_seconds)
    warm_up = WarmUp(slices, space, budget, steps=10, seed=seed, checkpoint=checkpoint)
    engine = make_engine(slices, [warm_up, ChildTraining(slices), checkpoint], episodes, seed=seed)
    end = Exploitation(
        *(engine, slices, space, budget),
        trial_steps=2,
        least_trial_steps=1,
        final_steps=10,
        random_candidates=0,
        final_cases=3,
        checkpoint=checkpoint,
    )

    def interrupt(trainer):
        if trainer.state.iteration == stop_at:
            raise KeyboardInterrupt

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, interrupt)

    def run():
        found = checkpoint.load(engine)
        engine.run()
        return found, end.run()

    return run, slices, checkpoint


@pytest.mark.parametrize("stop_at", [7, 24])  # of 10 steps of warm-up, 4 of children, 2 of each trial, 10 of the end
def test_warm_up_and_final_training_go_on_where_they_were(make_engine, tmp_path, stop_at):
    whole, slices, _ = long_search(make_engine, tmp_path / "whole")
    _, expected = whole()
    weights = slices.network.state_dict()
    assert slices.steps == 26
    interrupted, _, checkpoint = long_search(make_engine, tmp_path / "cut", stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert checkpoint.files()[0].name == f"episode_0000{int(stop_at > 10)}_step_{(stop_at - 1) // 2 * 2:08d}.pt"
    torch.rand(5)
    made = []
    again, slices, _ = long_search(make_engine, tmp_path / "cut", seed=3)
    slices.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda trainer: made.append(trainer.state.iteration))
    found, result = again()
    assert found
    trials = [15, 16, 15, 16] if stop_at < 15 else []
    assert made == [*range((stop_at - 1) // 2 * 2 + 1, 15), *trials, *range(max(17, stop_at // 2 * 2 - 1), 27)]
    assert (result.architecture, result.candidates) == (expected.architecture, expected.candidates)
    assert result.score.per_case == expected.score.per_case
    for name, value in slices.network.state_dict().items():
        assert torch.equal(weights[name], value), name


def test_within_a_stretch_it_saves_from_time_to_time_only(make_engine, tmp_path):
    run, _, checkpoint = long_search(make_engine, tmp_path, every_seconds=3600)
    run()
    assert [path.name for path in checkpoint.files()] == ["episode_00001.pt"]


def test_more_episodes_go_on_behind_the_last_one_and_not_in_the_final_training(make_engine, tmp_path):
    run, _, checkpoint = long_search(make_engine, tmp_path, stop_at=26)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert {path.name for path in checkpoint.files()} == {
        "episode_00001.pt",
        "episode_00001_step_00000022.pt",
        "episode_00001_step_00000024.pt",
    }
    again, slices, checkpoint = long_search(make_engine, tmp_path, episodes=2, every_seconds=3600)
    assert again()[0]
    assert slices.steps == 26 + 4
    assert checkpoint.files()[0].name == "episode_00002.pt"


def test_the_end_leaves_checkpoints_of_episodes_only(make_engine, tmp_path):
    run, slices, checkpoint = long_search(make_engine, tmp_path)
    run()
    assert len(checkpoint.files()) == 3
    engine, _, _ = search(make_engine, tmp_path / "other", 1)
    finish(checkpoint, engine, slices)
    assert [path.name for path in checkpoint.files()] == ["episode_00001.pt"]


def test_a_search_without_episodes_that_saw_the_reward_cases_is_not_gone_on_with(make_engine, tmp_path):
    run, _, _ = long_search(make_engine, tmp_path, episodes=0, stop_at=10)
    with pytest.raises(KeyboardInterrupt):
        run()
    again, slices, _ = long_search(make_engine, tmp_path)
    assert not again()[0]
    assert slices.steps == 26


def test_checkpoints_of_other_limits_do_not_outlive_what_comes_after(make_engine, tmp_path):
    run, _, _ = long_search(make_engine, tmp_path, stop_at=26, episodes=2)
    with pytest.raises(KeyboardInterrupt):
        run()
    fewer, _, checkpoint = long_search(make_engine, tmp_path, stop_at=24)
    with pytest.raises(KeyboardInterrupt):
        fewer()
    assert [path.name for path in checkpoint.files()] == [
        "episode_00002_step_00000022.pt",
        "episode_00002.pt",
        "episode_00001.pt",
    ]

# SPDX-License-Identifier: Apache-2.0
import random
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from ignite.engine import Events

from monai_ronas.engines import Exploitation, Race, Snapshots
from monai_ronas.engines.forecast import Prior
from monai_ronas.errors import SettingError
from monai_ronas.handlers import ChildTraining, SearchCheckpoint, WarmUp
from monai_ronas.space import neighbours
from monai_ronas.utils import ChildScore, SearchResult, Stopped, TimeBudget, stop_signals
from tests.engines.scripted import Scorer
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
    (tmp_path / ".episode_00002.pt.x1y2_abc").write_bytes(b"half")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".mine").touch()
    assert checkpoint.load(engine)
    assert {path.name for path in tmp_path.iterdir()} == {"episode_00001.pt", ".ipynb_checkpoints", ".mine"}


def test_nothing_to_continue(make_engine, tmp_path):
    engine, _, checkpoint = search(make_engine, tmp_path / "none", 1)
    assert not checkpoint.load(engine)


def test_another_search_is_refused_with_the_difference_named(make_engine, tmp_path):
    engine, _, _ = search(make_engine, tmp_path, 1)
    engine.run()
    other, _, checkpoint = search(make_engine, tmp_path, 1, identity={**IDENTITY, "seed": 1})
    with pytest.raises(
        ValueError, match="of which seed was 0 and is 1: give the same settings, another output_dir, or"
    ):
        checkpoint.load(other)


def test_the_reports_of_a_search_stay_where_another_is_refused(make_engine, tmp_path):
    directory = tmp_path / "checkpoints"
    engine, slices, checkpoint = search(make_engine, directory, 1)
    engine.run()
    finish(checkpoint, engine, slices)

    def report_after(load, *, refused=False):
        (tmp_path / "dataset_report.json").write_text("old")
        (tmp_path / "checked").mkdir(exist_ok=True)
        (tmp_path / "checked" / "dataset_report.json").write_text("new")
        with pytest.raises(SettingError) if refused else nullcontext():
            load()
        return (tmp_path / "dataset_report.json").read_text()

    other, _, checkpoint = search(make_engine, directory, 1, identity={**IDENTITY, "seed": 1})
    assert report_after(lambda: checkpoint.load(other), refused=True) == "old"
    assert report_after(checkpoint.load_final, refused=True) == "old"
    same, _, checkpoint = search(make_engine, directory, 1)
    assert report_after(lambda: checkpoint.load(same), refused=True) == "old"  # it has finished
    assert report_after(checkpoint.load_final) == "new"
    longer, _, checkpoint = search(make_engine, directory, 2)
    assert report_after(lambda: checkpoint.load(longer)) == "new"
    over, _, checkpoint = search(make_engine, directory, 1, resume=False)
    assert report_after(lambda: checkpoint.load(over)) == "new"


def test_of_another_data_set_its_name_is_told_before_digests(make_engine, tmp_path):
    then = {"digest": "0" * 32, "data": {"set": "Phantom", "voxels": "a" * 64}}
    now = {"digest": "1" * 32, "data": {"set": "Nodules", "voxels": "b" * 64}}
    search(make_engine, tmp_path, 1, identity=then)[0].run()
    other, _, checkpoint = search(make_engine, tmp_path, 1, identity=now)
    with pytest.raises(ValueError, match=f"of which data set was Phantom and is Nodules, digest was {'0' * 32} and is"):
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
    with pytest.raises(ValueError, match="seed was 0 and is 4"):
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


RACE = {"first_turn": 0.1, "least_steps": 1, "prior": Prior(lead=0.0, lead_sd=0.3, noise=0.02, own_sd=0.05)}


def long_search(
    make_engine,
    directory,
    *,
    every_seconds=0.0,
    seed=0,
    stop_at=None,
    episodes=1,
    gain=0.0,
    number=None,
    final_steps=30,
):
    """Warm-up, an episode and the end of a search, each of several slices; interrupted before a step of all made."""
    slices = toy_slices(seed=seed)
    slices.draw_from(2)  # the third case joins the final training
    space, budget = slices.network.space, TimeBudget(None)
    checkpoint = SearchCheckpoint(directory, slices, budget, identity=IDENTITY, every_seconds=every_seconds)
    checkpoint.copy_seconds, checkpoint.final_epochs = 0.0, final_steps
    warm_up = WarmUp(slices, space, budget, steps=10, seed=seed, checkpoint=checkpoint)
    engine = make_engine(slices, [warm_up, ChildTraining(slices), checkpoint], episodes, seed=seed)
    scorer = Scorer(gain=gain, favourite=next(iter(neighbours(space, space.base))))
    scorer.slices = slices
    made = []

    def interrupt(trainer):
        if len(made) + 1 == stop_at:
            if number is None:
                raise KeyboardInterrupt
            signal.raise_signal(number)
        made.append((space.patch(slices.network.architecture), trainer.state.iteration))

    slices.trainer.add_event_handler(Events.ITERATION_STARTED, interrupt)

    race = Race(slices, scorer, space, budget, steps=final_steps, **RACE)

    def run():
        found = checkpoint.load(engine)
        engine.run()
        engine.scorer = scorer
        engine.state.best_child = None  # the base network and one with a smaller patch
        more = {"checkpoint": checkpoint, "snapshots": Snapshots(slices, shares=(0.3, 0.6, 0.9))}
        return found, Exploitation(engine, race, final_cases=3, **more).run()

    return run, slices, checkpoint, made


BEFORE = 14  # 10 steps of warm-up, 4 of children


def same_end(slices, result, weights, expected):
    assert (result.architecture, result.candidates) == (expected.architecture, expected.candidates)
    assert (result.score.per_case, result.steps) == (expected.score.per_case, expected.steps)
    assert len(result.members) == len(expected.members) == 3
    for member, other in zip(result.members, expected.members, strict=True):
        assert member.keys() == other.keys()
        assert all(torch.equal(member[name], weight) for name, weight in other.items())
    for name, value in slices.network.derive(result.architecture).state_dict().items():
        assert torch.equal(weights[name][tuple(slice(n) for n in value.shape)], value), name


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_warm_up_race_and_final_training_go_on_where_they_were(make_engine, tmp_path, gain):
    """Interrupted in each of them, the race with its contenders' states on their way through a file."""
    whole, slices, _, made = long_search(make_engine, tmp_path / "whole", gain=gain)
    _, expected = whole()
    weights = {name: value.clone() for name, value in slices.network.state_dict().items()}
    starts = [n for n, (_, iteration) in enumerate(made) if iteration == 1]
    assert len(starts) == 3  # the shared weights, and two contenders
    stops = {"warm-up": 7, "second contender": starts[2] + 2, "race": starts[2] + 6, "final training": len(made) - 3}
    for name, stop_at in stops.items():
        directory = tmp_path / f"{name} {gain}"
        interrupted, _, checkpoint, first = long_search(make_engine, directory, stop_at=stop_at, gain=gain)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        files = checkpoint.files()
        state = torch.load(files[0], weights_only=True)
        assert list(state["interrupted"]) == [name if name in ("warm-up", "final training") else "race"]
        assert files[0].stat().st_mtime_ns == max(f.stat().st_mtime_ns for f in files)
        torch.rand(5)
        again, slices, _, second = long_search(make_engine, directory, seed=3, gain=gain)
        found, result = again()
        assert found
        assert made[-len(second) :] == second  # nothing before the checkpoint is made again
        assert len(first) + len(second) < len(made) + 20
        same_end(slices, result, weights, expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_stopped_by_a_signal_it_goes_on_from_a_copy_of_some_seconds_ago(make_engine, tmp_path, number):
    """Between two checkpoints in warm-up, episode, a turn of the race and the final training."""
    whole, slices, _, made = long_search(make_engine, tmp_path / "whole")
    _, expected = whole()
    weights = {name: value.clone() for name, value in slices.network.state_dict().items()}
    second = [n for n, (_, iteration) in enumerate(made) if iteration == 1][2]
    stops = {"warm-up": 8, "episode": BEFORE - 1, "race": second + 6, "final training": len(made) - 3}
    for name, stop_at in stops.items():
        directory = tmp_path / name
        stopped, _, checkpoint, first = long_search(
            make_engine, directory, stop_at=stop_at, every_seconds=3600, number=number
        )
        with pytest.raises(Stopped, match=number.name) as caught, stop_signals():
            checkpoint.guard(stopped)
        assert caught.value.saved
        state = torch.load(checkpoint.files()[0], weights_only=True)
        assert list(state["interrupted"]) == ["warm-up" if name == "episode" else name]
        again, slices, _, rest = long_search(make_engine, directory, seed=3, every_seconds=3600)
        found, result = again()
        assert found
        assert made[-len(rest) :] == rest
        lost = len(first) + len(rest) - len(made)
        assert lost <= {"race": 8}.get(name, 4)  # a turn, an episode or a slice
        same_end(slices, result, weights, expected)


def test_a_stop_of_which_others_make_an_error_is_guarded_as_well(make_engine, tmp_path):
    _, _, checkpoint, _ = long_search(make_engine, tmp_path)

    def wraps():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            raise RuntimeError("cannot compile") from None

    with pytest.raises(Stopped), stop_signals():
        checkpoint.guard(wraps)


def test_a_stop_before_the_first_checkpoint_is_not_said_to_be_saved(make_engine, tmp_path):
    stopped, _, checkpoint, _ = long_search(make_engine, tmp_path, stop_at=1, every_seconds=3600, number=signal.SIGTERM)
    with pytest.raises(Stopped) as caught, stop_signals():
        checkpoint.guard(stopped)
    assert not caught.value.saved
    assert checkpoint.files() == []


def test_within_a_stretch_it_saves_from_time_to_time_only(make_engine, tmp_path):
    run, _, checkpoint, _ = long_search(make_engine, tmp_path, every_seconds=3600)
    run()
    assert [path.name for path in checkpoint.files()] == ["episode_00001_part_00000000.pt", "episode_00001.pt"]
    assert list(torch.load(checkpoint.files()[0], weights_only=True)["interrupted"]) == ["final training"]


def test_what_was_saved_last_is_the_newest_though_steps_start_anew(make_engine, tmp_path):
    slices = toy_slices()
    checkpoint = SearchCheckpoint(tmp_path, slices, TimeBudget(None), identity=IDENTITY, every_seconds=0.0)
    engine = make_engine(slices, [], 1)
    for steps in (500, 4, 2):
        slices.trainer.state.iteration = steps
        checkpoint.save_within(engine, "race", {"steps": steps})
    found = [torch.load(path, weights_only=True)["interrupted"]["race"]["steps"] for path in checkpoint.files()]
    assert found == [2, 4]

# SPDX-License-Identifier: Apache-2.0
"""A search that is stopped within its warm-up, race or final training goes on there."""

import signal

import pytest
import torch

from monai_ronas.handlers import SearchCheckpoint
from monai_ronas.utils import Stopped, TimeBudget, stop_signals
from tests.handlers.searches import BEFORE, IDENTITY, long_search
from tests.toys import toy_slices


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

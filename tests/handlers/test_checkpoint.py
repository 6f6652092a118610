# SPDX-License-Identifier: Apache-2.0
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from monai_ronas.errors import SettingError
from tests.handlers.searches import IDENTITY, finish, search


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

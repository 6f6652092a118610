# SPDX-License-Identifier: Apache-2.0
import re

from monai_ronas.handlers.checkpoint_files import OURS, checkpoint_files


def test_the_newest_is_first_and_what_is_not_ours_is_left_out(tmp_path):
    parts = [f"episode_00002_part_{n:08d}.pt" for n in (1, 10)]
    names = ["episode_00002.pt", *parts, "episode_00010.pt", "episode_last.pt", "final.pt", "finished.json"]
    for name in names:
        (tmp_path / name).touch()
    found = [path.name for path in checkpoint_files(tmp_path)]
    assert found == ["episode_00010.pt", *reversed(parts), "episode_00002.pt"]
    assert [name for name in names if not re.fullmatch(OURS, name)] == ["episode_last.pt"]


def test_without_a_folder_there_are_none(tmp_path):
    assert checkpoint_files(tmp_path / "none") == []

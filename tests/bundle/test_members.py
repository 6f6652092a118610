# SPDX-License-Identifier: Apache-2.0
"""The file of the members beside ``model.pt``."""

import logging

import pytest
import torch

from monai_ronas.bundle.members import read_members, write_members
from monai_ronas.errors import SettingError

MEMBERS = [{"weight": torch.full((2, 3), float(n), dtype=torch.float16)} for n in (1, 2)]


@pytest.fixture
def models(tmp_path):
    """The folder of a bundle's weights, with two members."""
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "model.pt")
    write_members(tmp_path, MEMBERS)
    return tmp_path


def test_members_are_read_as_they_were_written(models):
    found = read_members(models)
    assert len(found) == 2
    for member, expected in zip(found, MEMBERS, strict=True):
        assert member["weight"].dtype == torch.float16
        assert torch.equal(member["weight"], expected["weight"])


def test_without_members_there_is_no_file(tmp_path, caplog):
    write_members(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    with caplog.at_level(logging.WARNING):
        assert read_members(tmp_path) == []
    assert caplog.messages == ["no models/members.pth: the uncertainty is that of the single network over its flips"]


def test_members_of_other_weights_are_left_out(models, caplog):
    torch.save({"weight": torch.ones(2, 3)}, models / "model.pt")
    with caplog.at_level(logging.WARNING):
        assert read_members(models) == []
    assert "models/members.pth belongs to another models/model.pt" in caplog.text


@pytest.mark.parametrize("content", [None, {"model": "", "members": 3}, {"members": []}, [1, 2]])
def test_a_damaged_file_is_refused(models, content):
    if content is None:
        (models / "members.pth").write_bytes(b"nothing")
    else:
        torch.save(content, models / "members.pth")
    with pytest.raises(SettingError, match=r"models/members\.pth cannot be read: restore it, or remove it"):
        read_members(models)


def test_a_missing_model_is_told(models):
    (models / "model.pt").unlink()
    with pytest.raises(SettingError, match="the weights of the bundle"):
        read_members(models)

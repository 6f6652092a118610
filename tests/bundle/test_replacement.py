# SPDX-License-Identifier: Apache-2.0
import errno
import itertools
import os
import signal
import sys

import pytest

from monai_ronas.bundle import replacement
from monai_ronas.bundle.replacement import clear_up, new_beside, replace
from monai_ronas.errors import SettingError


def fill(folder, text):
    for name in ("configs/a.json", "models/model.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


EXCHANGE = replacement._exchange
WHOLE = {text: dict.fromkeys(("configs/a.json", "models/model.pt"), text) for text in ("old", "new")}
INSIDE = ("configs/mine.json", "docs/other/.notes")
OWN = dict.fromkeys(("eval/table.csv", "notes.txt", *INSIDE), "mine")


@pytest.fixture(params=[True, False], ids=["one step", "two renames"])
def place(request, tmp_path, monkeypatch):
    if not request.param:
        monkeypatch.setattr(replacement, "_exchange", lambda one, other: False)
    fill(tmp_path / "bundle", "old")
    for name, text in OWN.items():
        (tmp_path / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / name).write_text(text)
    (tmp_path / "bundle" / "link").symlink_to("eval")
    (tmp_path / "bundle" / "models" / "link.pt").symlink_to("model.pt")
    return tmp_path / "bundle"


def test_files_that_the_new_folder_lacks_stay(place):
    new = new_beside(place)
    fill(new, "new")
    replace(place, new)
    assert content(place) == {**WHOLE["new"], **OWN, "models/link.pt": "new"}
    assert (place / "link").is_symlink()
    assert os.listdir(place.parent) == ["bundle"]


def test_files_of_ours_that_the_new_folder_lacks_go(place):
    (place / "docs" / "data_license.txt").write_text("of the old data")
    new = new_beside(place)
    fill(new, "new")
    replace(place, new, ours=("docs/data_license.txt",))
    assert content(place) == {**WHOLE["new"], **OWN, "models/link.pt": "new"}


def test_a_link_stays_a_link(place, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "linked"
    link.symlink_to(place)
    new = new_beside(link)
    fill(new, "new")
    replace(link, new)
    clear_up(link)
    assert link.readlink() == place
    assert content(place) == {**WHOLE["new"], **OWN, "models/link.pt": "new"}
    assert os.listdir(link.parent) == ["linked"]


CHANGES = {"link", "mkdir", "rename", "rmdir", "symlink", "unlink"}  # others leave names and content as they are


def calls_of(place, stop_at):
    """Replace in a process of its own that is killed before a call that changes files; the number of all."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        new = new_beside(place)
        fill(new, "new")
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            if event == "c_call" and argument.__module__ == "posix" and argument.__name__ in CHANGES:
                calls += 1
                if calls == stop_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        replace(place, new)
        sys.setprofile(None)
        os.write(writer, str(calls).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (text == "")
    return int(text) if text else None


def test_killed_at_any_call_it_leaves_the_old_or_the_new_folder(place):
    """But within one: these are of the kernel, and whole or not at all."""
    parent = place.parent
    kept, found, missing = content(place), set(), 0
    for stop_at in itertools.count(1):
        before = content(place)["models/model.pt"]
        if before == "new":
            fill(place, "old")
        if calls_of(place, stop_at) is not None:
            break
        missing += not place.exists()
        clear_up(place)
        now = content(place)
        found.add(now["models/model.pt"])
        assert now in (kept, {**kept, **WHOLE["new"], "models/link.pt": "new"}), stop_at
        assert os.listdir(parent) == ["bundle"]
    assert found == {"old", "new"}
    assert bool(missing) == (replacement._exchange is not EXCHANGE)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY])
def test_a_folder_that_cannot_be_renamed_stays_and_is_told(tmp_path, monkeypatch, number):
    def refuse(one, other):
        raise OSError(number, os.strerror(number), str(other))

    monkeypatch.setattr(replacement, "_exchange", refuse)
    fill(tmp_path / "bundle", "old")
    new = new_beside(tmp_path / "bundle")
    fill(new, "new")
    with pytest.raises(SettingError, match=r"bundle' cannot be replaced, .*: give a folder that is not there yet"):
        replace(tmp_path / "bundle", new)
    assert content(tmp_path / "bundle") == WHOLE["old"]


def test_other_errors_of_a_rename_stay_what_they_are(tmp_path, monkeypatch):
    def refuse(one, other):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(other))

    monkeypatch.setattr(replacement, "_exchange", refuse)
    fill(tmp_path / "bundle", "old")
    new = new_beside(tmp_path / "bundle")
    with pytest.raises(OSError, match="Input/output error"):
        replace(tmp_path / "bundle", new)


def test_what_others_have_beside_it_stays(tmp_path):
    fill(tmp_path / "bundle", "old")
    for name in (".bundle.backup", ".bundle.new.mine", ".ipynb_checkpoints", ".other.new.abcd1234"):
        (tmp_path / name).mkdir()
    (tmp_path / ".bundle.old.abcd1234").mkdir()
    new_beside(tmp_path / "bundle")
    clear_up(tmp_path / "bundle")
    assert sorted(os.listdir(tmp_path)) == [
        ".bundle.backup",
        ".bundle.new.mine",
        ".ipynb_checkpoints",
        ".other.new.abcd1234",
        "bundle",
    ]

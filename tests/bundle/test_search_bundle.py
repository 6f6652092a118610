# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_ronas.bundle init``."""

from pathlib import Path

import pytest

from monai_ronas.bundle import search_bundle
from monai_ronas.bundle.__main__ import main

SOURCE = Path(__file__).resolve().parents[2] / "bundles" / "ronas"


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["new", "two words", "above/below", "empty"])
def test_the_search_bundle_is_written_and_the_next_command_told(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["init", name]) == 0
    written = contents(tmp_path / name)
    assert written == {
        path: content for path, content in contents(SOURCE).items() if path.parts[0] in ("LICENSE", "configs", "docs")
    }
    assert {Path("LICENSE"), Path("configs/search.json"), Path("docs/README.md")} <= set(written)
    config = f"'{name}/configs/search.json'" if " " in name else f"{name}/configs/search.json"
    assert f"python -m monai.bundle run search --config_file {config} --dataset_dir DATA" in capsys.readouterr().out


def test_a_folder_with_files_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert capsys.readouterr().err == f"monai_ronas: the folder '{tmp_path}' is not empty: give another.\n"


def test_what_is_in_the_way_is_told_in_a_sentence(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder, told in (
        (file, f"'{file}' is a file: give the name of a new folder."),
        (file / "below", f"Not a directory in '{file / 'below' / 'configs'}': mend it and run the command again."),
    ):
        assert main(["init", str(folder)]) == 1
        assert capsys.readouterr().err in (f"monai_ronas: {told}\n", f"monai_ronas: {told.replace('/configs', '')}\n")
    assert file.read_text() == "mine"


def test_a_package_without_the_files_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search_bundle, "_CARRIED", tmp_path / "nothing")
    assert main(["init", str(tmp_path / "new")]) == 1
    assert "the package lacks the search bundle" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

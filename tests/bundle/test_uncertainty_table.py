# SPDX-License-Identifier: Apache-2.0
"""``uncertainty.csv`` over several runs of an exported inference configuration."""

import csv

import numpy as np
import pytest
from filelock import FileLock, Timeout

from monai_ronas.bundle import uncertainty
from tests.bundle.small_volumes import save, volume
from tests.bundle.two_members import segment
from tests.volume_files import write


def lines(folder):
    """The lines of ``uncertainty.csv``, by case, in their order."""
    with (folder / "uncertainty.csv").open() as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_lines_of_other_volumes_stay(bundle, tmp_path):
    out = tmp_path / "out"
    for name in ("a", "b"):
        save(tmp_path / f"in/{name}.nii.gz", volume(1))
    assert segment(bundle, tmp_path / "in", out, uncertainty=True) is None
    first = lines(out)
    save(tmp_path / "again/a.nii.gz", 10 * volume(2) ** 2)
    save(tmp_path / "again/c.nii.gz", volume(3))
    assert segment(bundle, tmp_path / "again", out, uncertainty=True) is None
    second = lines(out)
    assert list(second) == ["a", "b", "c"]
    assert second["b"] == first["b"]
    assert second["a"] != first["a"]
    told = segment(bundle, tmp_path / "again", out, uncertainty=True, **{"inferer#result_gb": 1e-9})
    assert "which have a segmentation only: 'a', 'c'" in told
    assert lines(out) == {"b": first["b"]}  # those of the others were of other segmentations


def test_volumes_that_the_ending_alone_tells_apart_have_a_line_each(bundle, tmp_path):
    for name in ("a.mha", "a.nii.gz", "b.nii.gz"):
        write(tmp_path / "in" / name, volume(), np.eye(4))
    for _ in range(2):
        assert segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True) is None
        assert list(lines(tmp_path / "out")) == ["a", "a.nii.gz", "b"]


@pytest.mark.parametrize("text", [b"case,organ ml\na,3\n", b"", b"\xff\x00"])
def test_lines_of_another_bundle_are_not_overwritten(bundle, tmp_path, text):
    save(tmp_path / "in/a.nii.gz")
    file = tmp_path / "out" / "uncertainty.csv"
    file.parent.mkdir()
    file.write_bytes(text)
    told = segment(bundle, tmp_path / "in", file.parent, uncertainty=True)
    assert told == f"'{file}' has other columns than those of this bundle: remove it, or give another output_dir."
    assert [path.name for path in file.parent.iterdir()] == ["uncertainty.csv"]
    assert file.read_bytes() == text


def test_two_runs_at_once_keep_the_lines_of_both(bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for name in ("a", "b"):
        save(tmp_path / f"in/{name}.nii.gz", volume(1))
    write_map = uncertainty.write_volume

    def write_beside_another(path, *args):
        if path.name == "b_entropy.nii.gz":  # after the line of a
            assert list(lines(out)) == ["a"]
            with (out / "uncertainty.csv").open("a") as file:
                file.write(f"other{',1' * (len(lines(out)['a']) - 1)}\n")
        write_map(path, *args)

    write = uncertainty.write_atomically

    def write_locked(path, content):
        if path.name == "uncertainty.csv":
            with pytest.raises(Timeout):
                FileLock(out / ".uncertainty.csv.lock").acquire(timeout=0)
        write(path, content)

    monkeypatch.setattr(uncertainty, "write_volume", write_beside_another)
    monkeypatch.setattr(uncertainty, "write_atomically", write_locked)
    assert segment(bundle, tmp_path / "in", out, uncertainty=True) is None
    assert list(lines(out)) == ["a", "other", "b"]

# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os

import pytest

from monai_ronas.data import open_study, read_msd, verify, verify_dataset
from monai_ronas.data.memo import VerificationMemo

SPLIT = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that have been decoded."""
    names = []
    original = verify._decode

    def decode(path, what):
        names.append(path[0].name)
        return original(path, what)

    monkeypatch.setattr(verify, "_decode", decode)
    return names


def touch(path):
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def test_the_second_time_no_volume_is_read(phantom, tmp_path, decoded):
    first = open_study(phantom, tmp_path, **SPLIT)
    report = (tmp_path / "dataset_report.json").read_bytes()
    assert len(decoded) == 10
    decoded.clear()
    (tmp_path / "dataset_report.json").unlink()
    assert open_study(phantom, tmp_path, **SPLIT) == first
    assert (tmp_path / "dataset_report.json").read_bytes() == report
    assert decoded == []


def test_what_is_remembered_equals_what_was_found(maker, tmp_path, decoded):
    import numpy as np

    for n in range(3):
        maker.add(f"case{n}")
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    rng = np.random.default_rng(5)
    maker.add("sheared", affine=sheared, image=rng.uniform(-1, 1, (9, 8, 7)).astype(np.float32))
    maker.add("empty", label=np.zeros((9, 8, 7), np.uint8))
    dataset = read_msd(maker.write())
    found = verify_dataset(dataset)
    assert len(found[0]["warnings"]) == 2
    assert verify_dataset(dataset, memo=tmp_path / "memo") == found
    decoded.clear()
    again = verify_dataset(dataset, memo=tmp_path / "memo")
    assert again == found
    assert json.dumps(again[0]) == json.dumps(found[0])
    assert [type(value) for stats in again[1] for value in dataclasses.astuple(stats)] == [
        type(value) for stats in found[1] for value in dataclasses.astuple(stats)
    ]
    assert decoded == []


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_a_changed_file_is_read_again(maker, tmp_path, decoded, folder):
    for n in range(3):
        maker.add(f"case{n}")
    dataset = read_msd(maker.write())
    verify_dataset(dataset, memo=tmp_path / "memo")
    decoded.clear()
    touch(maker.root / folder / "case1.nii.gz")
    verify_dataset(dataset, memo=tmp_path / "memo")
    assert decoded == ["case1.nii.gz"] * 2
    decoded.clear()
    verify_dataset(dataset, memo=tmp_path / "memo")
    assert decoded == []


@pytest.mark.parametrize(
    "change",
    [{"labels": {"0": "background", "1": "organ", "2": "lesion"}}, {"modality": {"0": "T1", "1": "T2"}}, "resample"],
)
def test_other_settings_read_again(maker, tmp_path, decoded, change):
    maker.add("case")
    verify_dataset(read_msd(maker.write()), memo=tmp_path / "memo")
    decoded.clear()
    if change != "resample":
        maker.content.update(change)
    dataset = read_msd(maker.write())
    report, _ = verify_dataset(dataset, resample_label=change == "resample", memo=tmp_path / "memo")
    assert len(decoded) == 2
    assert len(report["faults"]) == (1 if "modality" in change else 0)


def test_faults_are_found_again(maker, tmp_path, decoded):
    import numpy as np

    maker.add("sound")
    maker.add("bad", image=np.full((9, 8, 7), np.nan, np.float32))
    dataset = read_msd(maker.write())
    first = verify_dataset(dataset, memo=tmp_path / "memo")
    decoded.clear()
    assert verify_dataset(dataset, memo=tmp_path / "memo") == first
    assert decoded == ["bad.nii.gz"] * 2


def test_faults_between_cases_are_found_again(maker, tmp_path, decoded):
    import numpy as np

    image = np.random.default_rng(0).uniform(1, 2, (9, 8, 7)).astype(np.float32)
    for name in ("a", "b"):
        maker.add(name, image=image)
    dataset = read_msd(maker.write())
    first = verify_dataset(dataset, memo=tmp_path / "memo")
    assert [fault["case"] for fault in first[0]["faults"]] == ["b"]
    decoded.clear()
    assert verify_dataset(dataset, memo=tmp_path / "memo") == first
    assert decoded == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "\xff\x00{",
        lambda text: text.replace("spacing", "gap"),
        lambda text: "[" * 100_000,
        lambda text: '["a", 1]\n[]\n{}\n["a", {"stats": 1}]',
        lambda text: text.replace("[[", "[").replace('"digest"', '"d"'),
    ],
)
def test_a_damaged_file_is_ignored_and_goes_on(maker, tmp_path, decoded, damage):
    for n in range(3):
        maker.add(f"case{n}")
    dataset, memo = read_msd(maker.write()), tmp_path / "memo"
    first = verify_dataset(dataset, memo=memo)
    memo.write_bytes(damage(memo.read_text()).encode("latin-1"))
    decoded.clear()
    assert verify_dataset(dataset, memo=memo) == first
    assert decoded
    decoded.clear()
    assert verify_dataset(dataset, memo=memo) == first
    assert decoded == []


def test_a_file_that_cannot_be_written_costs_nothing_but_time(maker, tmp_path):
    maker.add("case")
    (tmp_path / "file").write_text("")
    report, _ = verify_dataset(read_msd(maker.write()), memo=tmp_path / "file" / "memo")
    assert report["faults"] == []


def test_what_is_remembered_may_be_changed(maker, tmp_path):
    maker.add("case")
    verify_dataset(read_msd(maker.write()), memo=tmp_path / "memo")
    memo = VerificationMemo(tmp_path / "memo")
    (key,) = (json.loads(line)[0] for line in (tmp_path / "memo").read_text().split("\n") if line)
    memo.get(key).problems.append("one")
    assert memo.get(key).problems == []
    assert key in memo
    assert "other" not in memo
    assert None not in memo

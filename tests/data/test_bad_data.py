# SPDX-License-Identifier: Apache-2.0
"""Of the bad data sets of the corpus none reaches training, and none gives a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data import DatasetError, open_study, read_msd, verify_dataset

from .corpus import CORPUS, IN_CASE, SHAPE, colours, gone, label, noise, with_value

SPLIT = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_wrong_is_one_sentence(maker, tmp_path: Path, name: str):
    spoil, expected = CORPUS[name]
    for n in range(5):
        maker.add(f"case{n}")
    spoil(maker)
    root = maker.write()
    with pytest.raises(DatasetError, match=expected) as caught:
        open_study(root, tmp_path / "out", **SPLIT)
    message = str(caught.value)
    assert "\n" not in message
    report = tmp_path / "out" / "dataset_report.json"
    if "in case" in message:
        faults = json.loads(report.read_text())["faults"]
        assert len(faults) == 1
        assert "skip_invalid" in message
    else:
        assert not report.exists()


@pytest.mark.parametrize("name", [name for name, (_, expected) in CORPUS.items() if expected.startswith(IN_CASE)])
def test_skip_invalid_leaves_the_case_out_and_says_so(maker, tmp_path: Path, caplog, name: str):
    for n in range(5):
        maker.add(f"case{n}")
    CORPUS[name][0](maker)
    study = open_study(maker.write(), tmp_path / "out", **SPLIT, skip_invalid=True)
    used = {case.name for use in ("train", "reward", "test") for case in study.cases(use)}
    assert used >= {f"case{n}" for n in range(5)}
    assert "bad" not in used or name == "listed twice"
    assert study.split.skipped == (() if name == "listed twice" else ("bad",))
    assert "left out for their faults" in caplog.text


def test_faults_in_all_cases_leave_nothing_to_skip(maker, tmp_path: Path):
    for n in range(5):
        maker.add(f"case{n}", image=np.full(SHAPE, float(n), np.float32))
    with pytest.raises(DatasetError, match="has no case without a fault"):
        open_study(maker.write(), tmp_path / "out", **SPLIT, skip_invalid=True)


def test_a_table_of_all_faults_goes_to_the_log(maker, tmp_path: Path, caplog):
    for n in range(5):
        maker.add(f"case{n}")
    maker.add("first", image=with_value(np.nan), label=label(1, 5))
    maker.add("second", image=noise((9, 8, 1)))
    gone("image")(maker)
    with pytest.raises(DatasetError, match="has 4 faults"):
        open_study(maker.write(), tmp_path / "out", **SPLIT)
    lines = caplog.text.splitlines()
    for case, problem in (("first", "NaN"), ("first", "holds 5"), ("second", "single slice"), ("bad", "missing")):
        assert any(line.strip().startswith(case) and problem in line for line in lines)


def test_labels_are_resampled_where_asked_for(maker, tmp_path: Path):
    from monai_ronas.data import build_preprocessing

    rng = np.random.default_rng(3)
    for n in range(5):
        maker.add(f"case{n}")
    fine = np.zeros((16, 16, 16), np.uint8)
    fine[4:12, 4:12, 4:12] = 1
    half = np.diag([2.0, 2.0, 2.0, 1.0])
    half[:3, 3] = 0.5  # the middle of two voxels of the fine grid
    maker.add("bad", image=rng.uniform(1, 2, (8, 8, 8)).astype(np.float32), affine=half, label=fine)
    nib.save(nib.Nifti1Image(fine, np.eye(4)), maker.root / "labelsTr" / "bad.nii.gz")
    study = open_study(maker.write(), tmp_path / "out", **SPLIT, resample_label=True)
    report = json.loads((tmp_path / "out" / "dataset_report.json").read_text())
    assert report["warnings"] == [{"case": "bad", "problem": "the label is resampled to the grid of its image"}]
    (entry,) = (entry for entry in report["cases"] if entry["name"] == "bad")
    assert entry["label_voxels"]["1"] == 64
    assert study.fingerprint.resample_label
    (case,) = (case for case in study.dataset.cases if case.name == "bad")
    item = build_preprocessing(study.fingerprint)({"image": str(case.image), "label": str(case.label)})
    assert item["image"].shape == item["label"].shape
    expected = study.fingerprint.target_spacing
    assert int(item["label"].sum()) == pytest.approx(512 / np.prod(expected), rel=0.2)


def test_oblique_axes_are_accepted_with_a_warning(maker, tmp_path: Path):
    for n in range(5):
        maker.add(f"case{n}")
    affine = np.eye(4)
    affine[0, 1] = 0.2
    maker.add("sheared", image=noise(), affine=affine)
    path = maker.root / "imagesTr" / "sheared.nii.gz"
    assert nib.load(path).affine[0, 1] == pytest.approx(0.2)
    open_study(maker.write(), tmp_path / "out", **SPLIT)
    (warning,) = json.loads((tmp_path / "out" / "dataset_report.json").read_text())["warnings"]
    assert warning["case"] == "sheared"
    assert "not at right angles (cosine 0.196)" in warning["problem"]


def test_endless_nesting_is_one_sentence(maker, tmp_path: Path):
    maker.add("case")
    (maker.write() / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="is not valid JSON"):
        open_study(maker.root, tmp_path / "out", **SPLIT)


@pytest.mark.parametrize(
    ("values", "problem"),
    [(label(1, shape=(4, 4, 4), dtype=np.uint64), None), (np.zeros((4, 4, 4), colours().dtype), "not whole numbers")],
)
def test_any_type_of_label_on_another_grid(maker, tmp_path: Path, values, problem):
    for n in range(5):
        maker.add(f"case{n}")
    maker.add("bad", image=noise())
    nib.save(nib.Nifti1Image(values, np.eye(4), dtype=values.dtype), maker.root / "labelsTr" / "bad.nii.gz")
    report, _ = verify_dataset(read_msd(maker.write()), resample_label=True)
    assert [fault["case"] for fault in report["faults"]] == (["bad"] if problem else [])
    assert problem is None or problem in report["faults"][0]["problem"]


def test_of_two_cases_with_the_same_image_the_sound_one_stays(maker, tmp_path: Path):
    for n in range(5):
        maker.add(f"case{n}")
    maker.add("bad", image=noise(), label=label(1, 5))
    maker.add("mended", image=noise(), label=label(1))
    study = open_study(maker.write(), tmp_path / "out", **SPLIT, skip_invalid=True)
    assert study.split.skipped == ("bad",)
    assert "mended" in {case.name for case in study.dataset.cases}

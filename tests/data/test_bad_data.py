# SPDX-License-Identifier: Apache-2.0
"""Bad data sets, each with the sentence that it must give; none reaches training, none gives a traceback."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.bundle import one_sentence
from monai_ronas.data import open_study, read_msd, verify_dataset

SHAPE = (9, 8, 7)
SPLIT = {"fold": 0, "num_folds": 5, "reward_fraction": 0.25, "seed": 0}


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 2, shape).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    image = noise()
    image[4, 4, 4] = value
    return image


def label(*values: float, dtype: type = np.uint8, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    data = np.zeros(shape, dtype=dtype)
    data.flat[: len(values)] = values
    return data


def colours() -> np.ndarray:
    return np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


def add(**arrays: np.ndarray) -> Callable:
    """A case with arrays of its own."""
    return lambda maker: maker.add("bad", **arrays)


def listed(entry: object) -> Callable:
    """A case that is listed in an odd way."""

    def spoil(maker):
        maker.add("bad")
        maker.content["training"][-1] = entry

    return spoil


def content(**changes: object) -> Callable:
    """A change of dataset.json."""
    return lambda maker: maker.content.update(changes)


def written(what: str, change: Callable[[bytes], bytes], suffix: str = ".nii.gz") -> Callable:
    """A change of the bytes of a file."""

    def spoil(maker):
        maker.add("bad", suffix=suffix)
        path = maker.root / f"{what}sTr" / f"bad{suffix}"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def header(offset: int, kind: str, *values: float, what: str = "image") -> Callable:
    """A change in the header of a NIfTI file; ``offset`` in bytes."""

    def change(raw: bytes) -> bytes:
        packed = struct.pack("<" + kind, *values)
        return raw[:offset] + packed + raw[offset + len(packed) :]

    return written(what, change, ".nii")


def early_end(raw: bytes) -> bytes:
    """Well compressed, header whole, but the voxels end early."""
    return gzip.compress(gzip.decompress(raw)[:-400])


def twice(maker):
    maker.add("bad")
    maker.content["training"].append(maker.content["training"][-1])


def gone(what: str) -> Callable:
    return lambda maker: (maker.add("bad"), (maker.root / f"{what}sTr" / "bad.nii.gz").unlink())


def same_image(maker):
    maker.add("a_first", image=noise())
    maker.add("bad", image=noise())


def few_cases(maker):
    del maker.content["training"][3:]


def far(spacing: float) -> np.ndarray:
    return np.diag([spacing, 1.0, 1.0, 1.0])


def shifted(by: float) -> np.ndarray:
    affine = np.eye(4)
    affine[1, 3] = by
    return affine


IN_CASE = "in case 'bad'.*"
CORPUS: dict[str, tuple[Callable, str]] = {
    "image missing": (gone("image"), IN_CASE + "the image file './imagesTr/bad.nii.gz' is missing"),
    "label missing": (gone("label"), IN_CASE + "the label file './labelsTr/bad.nii.gz' is missing"),
    "path to the outside": (listed({"image": "../bad.nii", "label": "b.nii"}), IN_CASE + "outside of the data set"),
    "absolute path": (listed({"image": "/bad.nii.gz", "label": "b.nii"}), IN_CASE + "outside of the data set"),
    "empty path": (listed({"image": "", "label": ""}), "outside of the data set"),
    "null character": (listed({"image": "imagesTr/ba\0d.nii", "label": "b.nii"}), "null character"),
    "endless name": (
        listed({"image": "x" * 300 + ".nii", "label": "b.nii"}),
        "cannot be looked up .File name too long",
    ),
    "other format": (listed({"image": "imagesTr/bad.mha", "label": "b.nii"}), "neither .nii nor .nii.gz"),
    "entry is text": (listed("imagesTr/bad.nii.gz"), r"in case 'training\[5\]'.*image and label paths"),
    "entry without label": (listed({"image": "imagesTr/bad.nii.gz"}), "image and label paths"),
    "entry with numbers": (listed({"image": 1, "label": 2}), "image and label paths"),
    "listed twice": (twice, IN_CASE + "listed more than once"),
    "no labels": (content(labels=None), "has no labels"),
    "labels are a list": (content(labels=["background", "organ"]), "has no labels"),
    "labels with a gap": (content(labels={"0": "background", "2": "organ"}), r"received \[0, 2\]"),
    "labels without background": (content(labels={"1": "organ", "2": "cyst"}), r"received \[1, 2\]"),
    "labels of regions": (content(labels={"background": 0, "whole": [1, 2]}), "whole numbers"),
    "superscript label": (content(labels={"0": "background", "²": "organ"}), "whole numbers"),
    "background alone": (content(labels={"0": "background"}), "background alone"),
    "no modality": (content(modality=None), "no modality"),
    "modality with a gap": (content(modality={"0": "T1", "2": "T2"}), r"0..n"),
    "no cases": (content(training=[]), "is empty"),
    "cases not in a list": (content(training={"image": "a"}), "no training list"),
    "fewer cases than folds": (few_cases, "cannot fill num_folds 5"),
    "empty image file": (written("image", lambda raw: b""), IN_CASE + "cannot be read"),
    "text for an image": (written("image", lambda raw: b"no volume"), IN_CASE + "cannot be read"),
    "compressed image cut": (written("image", lambda raw: raw[: len(raw) // 2]), IN_CASE + "cannot be read"),
    "compressed image ends early": (written("image", early_end), IN_CASE + "cannot be read"),
    "compressed label ends early": (written("label", early_end), IN_CASE + "cannot be read"),
    "image cut": (written("image", lambda raw: raw[:-1], ".nii"), IN_CASE + "cannot be read"),
    "label cut in its header": (written("label", lambda raw: raw[:300], ".nii"), IN_CASE + "cannot be read"),
    "negative size": (header(42, "h", -9), IN_CASE + "the image"),
    "size beyond the file": (header(42, "3h", 30000, 30000, 30000), IN_CASE + "cannot be read"),
    "unknown type": (header(70, "h", 4321), IN_CASE + "cannot be read"),
    "spacing zero": (header(280, "f", 0.0), IN_CASE + "cannot be inverted"),
    "affine not a number": (header(280, "f", float("nan")), IN_CASE + "cannot be inverted"),
    "spacing of another scale": (add(image=noise(), affine=far(1000)), IN_CASE + "resampled to 8001 x 8 x 7 voxels"),
    "NaN": (add(image=with_value(np.nan)), IN_CASE + "1 NaN or infinite"),
    "infinity": (add(image=with_value(np.inf)), IN_CASE + "1 NaN or infinite"),
    "intercept not a number": (header(112, "2f", 1.0, float("nan")), IN_CASE + "cannot be read"),
    "mark for no data": (add(image=with_value(-3.4e38)), IN_CASE + "holds -3.4e\\+38, perhaps a mark for no data"),
    "constant": (add(image=np.ones(SHAPE, np.float32)), IN_CASE + "same value, 1, everywhere"),
    "flat": (add(image=noise((9, 8)), label=label(1)), IN_CASE + r"shape \(9, 8\)"),
    "single slice": (add(image=noise((9, 8, 1))), IN_CASE + "a single slice"),
    "time axis": (add(image=noise((*SHAPE, 6))), IN_CASE + r"6 channel\(s\), or moments of time"),
    "five axes": (add(image=noise((*SHAPE, 1, 3))), IN_CASE + r"shape \(9, 8, 7, 1, 3\)"),
    "complex image": (add(image=noise().astype(np.complex64)), IN_CASE + "complex values"),
    "coloured image": (add(image=colours(), label=label(1)), IN_CASE + "cannot be read"),
    "coloured label": (add(image=noise(), label=colours()), IN_CASE + "not whole numbers"),
    "label of another shape": (add(image=noise(), label=label(1)[:-1]), IN_CASE + "another grid.*resample_label"),
    "label elsewhere": (add(image=noise(), label_affine=shifted(3)), IN_CASE + "differ by 3 .*resample_label"),
    "label with two channels": (add(image=noise(), label=label(1, shape=(*SHAPE, 2))), r"shape \(9, 8, 7, 2\)"),
    "undeclared label": (add(image=noise(), label=label(1, 5)), IN_CASE + "holds 5, which dataset.json does not"),
    "negative label": (add(image=noise(), label=label(1, -1, dtype=np.int16)), IN_CASE + "holds -1"),
    "fractional label": (add(image=noise(), label=label(1, 0.5, dtype=np.float32)), IN_CASE + "such as 0.5"),
    "label not a number": (add(image=noise(), label=label(np.nan, dtype=np.float32)), IN_CASE + "label holds 1 NaN"),
    "image of another case": (same_image, IN_CASE + "the same as that of case 'a_first'"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_one_sentence_and_no_traceback(maker, tmp_path: Path, name: str):
    spoil, expected = CORPUS[name]
    for n in range(5):
        maker.add(f"case{n}")
    spoil(maker)
    root = maker.write()
    with pytest.raises(SystemExit, match=expected) as caught:
        one_sentence(open_study, root, tmp_path / "out", **SPLIT)
    message = str(caught.value)
    assert message.startswith("monai_ronas: ")
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
    with pytest.raises(SystemExit, match="has no case without a fault"):
        one_sentence(open_study, maker.write(), tmp_path / "out", **SPLIT, skip_invalid=True)


def test_a_table_of_all_faults_goes_to_the_log(maker, tmp_path: Path, caplog):
    for n in range(5):
        maker.add(f"case{n}")
    maker.add("first", image=with_value(np.nan), label=label(1, 5))
    maker.add("second", image=noise((9, 8, 1)))
    gone("image")(maker)
    with pytest.raises(SystemExit, match="has 4 faults"):
        one_sentence(open_study, maker.write(), tmp_path / "out", **SPLIT)
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
    with pytest.raises(SystemExit, match="is not valid JSON"):
        one_sentence(open_study, maker.root, tmp_path / "out", **SPLIT)


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

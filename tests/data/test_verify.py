# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_ronas.data import (
    DatasetError,
    LoadVolumed,
    VolumeError,
    raise_for_faults,
    read_msd,
    verify_dataset,
    write_report,
)
from tests.volume_files import write, write_series

IMAGE = np.random.default_rng(0).uniform(1, 2, (9, 8, 7)).astype(np.float32)


def labelled(*values: float, dtype: type = np.uint8) -> np.ndarray:
    label = np.zeros(IMAGE.shape, dtype=dtype)
    label.flat[: len(values)] = values
    return label


def image_with(value: float) -> np.ndarray:
    image = IMAGE.copy()
    image[1, 2, 3] = value
    return image


def shifted(by: float) -> np.ndarray:
    affine = np.eye(4)
    affine[0, 3] = by
    return affine


def test_sound_phantom(phantom: Path):
    report, stats = verify_dataset(read_msd(phantom), workers=2)
    assert report["faults"] == report["warnings"] == []
    assert [case.name for case in stats] == [entry["name"] for entry in report["cases"]]
    assert report["dataset"]["num_cases"] == len(stats) == 5
    first = report["cases"][0]
    assert (first["spacing"], first["orientation"]) == ([1.0, 1.0, 2.0], "RAS")
    assert sum(first["label_voxels"].values()) == np.prod(first["shape"])
    raise_for_faults(report)


@pytest.mark.parametrize(
    ("spoiled", "problem"),
    [
        ({"image": np.zeros((9, 8, 7), np.float32), "label": labelled(1)}, "same value, 0, everywhere"),
        ({"image": image_with(np.nan)}, r"image holds 1 NaN or infinite"),
        ({"image": image_with(-np.inf)}, r"image holds 1 NaN or infinite"),
        ({"image": np.stack([IMAGE, IMAGE], -1)}, r"2 channel\(s\), or moments of time, where dataset.json declares 1"),
        ({"image": IMAGE[..., 0], "label": labelled(1)}, r"image has shape \(9, 8\)"),
        ({"image": IMAGE, "label": np.stack([labelled(1)] * 2, -1)}, r"label has shape \(9, 8, 7, 2\)"),
        ({"image": IMAGE, "label": labelled(1)[:-1]}, r"another grid .*: \(8, 8, 7\) voxels, the image \(9, 8, 7\)"),
        ({"label_affine": shifted(0.01)}, "differ by 0.01"),
        ({"image": IMAGE, "label": labelled(1, 3, 7)}, r"holds 3, 7, which .* \(declared: 0, 1\)"),
        ({"image": IMAGE, "label": labelled(1, -1, dtype=np.int16)}, "holds -1, which"),
        ({"image": IMAGE, "label": labelled(1, 0.5, dtype=np.float32)}, "not whole numbers, such as 0.5"),
        ({"image": IMAGE, "label": labelled(1, np.nan, dtype=np.float32)}, "label holds 1 NaN"),
    ],
)
def test_faults(maker, spoiled, problem):
    maker.add("sound")
    maker.add("spoiled", **spoiled)
    report, stats = verify_dataset(read_msd(maker.write()))
    assert [fault["case"] for fault in report["faults"]] == ["spoiled"]
    assert [case.name for case in stats] == ["sound"]
    with pytest.raises(DatasetError, match=problem):
        raise_for_faults(report)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, -200])
def test_truncated_file(maker, suffix, kept):
    maker.add("a", suffix=suffix)
    file = maker.write() / "imagesTr" / f"a{suffix}"
    file.write_bytes(file.read_bytes()[:kept])
    report, stats = verify_dataset(read_msd(maker.root))
    assert stats == []
    assert [f"'a{suffix}' cannot be read" in fault["problem"] for fault in report["faults"]] == [True]


def test_of_several_files_the_broken_one_is_named(maker):
    maker.add("a")
    folder = maker.write() / "imagesTr"
    (folder / "b.nii.gz").write_bytes((folder / "a.nii.gz").read_bytes()[:-200])
    maker.content |= {"modality": {"0": "T1", "1": "T2"}}
    maker.content["training"][0]["image"] = ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"]
    report, _ = verify_dataset(read_msd(maker.write()))
    assert [fault["problem"][:44] for fault in report["faults"]] == ["the image file 'b.nii.gz' cannot be read (EO"]
    with pytest.raises(VolumeError, match=r"^'b\.nii\.gz': the image file cannot be read"):
        LoadVolumed("image")({"image": [str(folder / "a.nii.gz"), str(folder / "b.nii.gz")]})


def test_many_declared_values_are_counted(maker):
    maker.content["labels"] = {str(value): f"part {value}" for value in range(301)}
    maker.add("a", image=IMAGE, label=labelled(*range(1, 301), dtype=np.uint16))
    report, stats = verify_dataset(read_msd(maker.write()))
    assert report["faults"] == report["warnings"] == []
    counts = report["cases"][0]["label_voxels"]
    assert (len(counts), counts["300"], counts["0"]) == (301, 1, IMAGE.size - 300)
    assert len(stats) == 1


def test_all_faults_of_all_cases_in_one_report(maker, tmp_path: Path):
    maker.add("a", image=image_with(np.nan), label=labelled(1, 5), label_affine=shifted(1))
    maker.add("b", image=IMAGE, label=labelled())
    maker.add("c", image=IMAGE + 1, label=labelled(2))
    report, stats = verify_dataset(read_msd(maker.write()))
    assert [fault["case"] for fault in report["faults"]] == ["a", "a", "a", "c"]
    assert report["warnings"] == [{"case": "b", "problem": "the label has no foreground voxel"}]
    assert [case.name for case in stats] == ["b"]
    assert stats[0].intensity_mean == ()
    file = tmp_path / "new" / "report.json"
    write_report(report, file)
    assert json.loads(file.read_text()) == report
    with pytest.raises(
        DatasetError, match=r"'Toy' has 4 faults, the first in case 'a': .*; the full report is in '.*'"
    ):
        raise_for_faults(report, report_path=file)


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        ({"label": labelled(1, 5)}, "declare the value in 'labels' of dataset.json or correct the label"),
        ({"image": image_with(np.nan)}, "correct it"),
        (
            {"label_affine": shifted(1)},
            "correct it, or --resample_label true resamples labels to the grid of their image",
        ),
    ],
)
def test_the_advice_is_what_helps(maker, sound, spoiled, told):
    maker.add("a", **{"image": IMAGE, "label": labelled(1), **spoiled})
    for name in ("b", "c")[: 2 if sound else 1]:
        maker.add(name)
    report, _ = verify_dataset(read_msd(maker.write()))
    with pytest.raises(DatasetError) as caught:
        raise_for_faults(report)
    assert str(caught.value).endswith(f"; {told}{', or --skip_invalid true leaves such cases out' if sound else ''}.")


def test_accepts_whole_numbers_as_float_and_small_affine_differences(maker):
    maker.add("a", image=IMAGE, label=labelled(1, 1, dtype=np.float64)[..., None], label_affine=shifted(5e-4))
    report, stats = verify_dataset(read_msd(maker.write()))
    assert report["faults"] == []
    assert stats[0].label_voxels == {0: IMAGE.size - 2, 1: 2}


def test_statistics_are_in_ras_order(maker):
    image = np.zeros((12, 10, 8, 2), np.float32)
    image[3:6, 0:10, 2:8] = 5
    image[4, 4, 4] = (7, 9)
    label = np.zeros((12, 10, 8), np.uint8)
    label[4, 4, 3:5] = 1
    affine = np.array([[0, 0, -3, 0], [1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1]], float)  # axes are A, I, L
    maker.content["modality"] = {"0": "T1", "1": "T2"}
    maker.add("a", image=image, label=label, affine=affine)
    report, (stats,) = verify_dataset(read_msd(maker.write()))
    assert report["cases"][0]["orientation"] == "AIL"
    assert report["cases"][0]["shape"] == [12, 10, 8]
    assert stats.shape == (8, 12, 10)
    assert stats.spacing == pytest.approx((3, 1, 2))
    assert stats.foreground_fraction == pytest.approx((6 / 8, 3 / 12, 1))
    assert stats.intensity_mean == pytest.approx((6, 7))
    assert stats.intensity_std == pytest.approx((1, 2))
    assert [len(levels) for levels in stats.intensity_quantiles] == [200, 200]
    assert min(stats.intensity_quantiles[1]) >= 5
    assert max(stats.intensity_quantiles[1]) <= 9


def test_negative_values_are_no_background(maker):
    maker.add("a", image=IMAGE - 1.5)
    _, (stats,) = verify_dataset(read_msd(maker.write()))
    assert stats.foreground_fraction == (1, 1, 1)


def test_real_data_is_sound(real_data: Path):
    report, stats = verify_dataset(read_msd(real_data))
    assert report["faults"] == []
    assert len(stats) == 208
    assert sum(case.label_voxels[1] > 0 for case in stats) == 208


def test_several_series_in_the_folder_of_an_image_are_refused(tmp_path):
    """For training a folder is one image, which of the series is meant nobody can tell."""
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    voxels = np.rint(100 * IMAGE).astype(np.int16)
    for name in "ab":
        write_series(tmp_path / name, voxels, affine)
        for file in (tmp_path / name).iterdir():
            (tmp_path / "data/p/ct").mkdir(parents=True, exist_ok=True)
            file.rename(tmp_path / "data/p/ct" / f"{name}_{file.name}")
    write(tmp_path / "data/p/label.nii.gz", labelled(1), affine)
    content = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}}
    content["training"] = [{"image": "p/ct", "label": "p/label.nii.gz"}]
    (tmp_path / "data/dataset.json").write_text(json.dumps(content))
    report, _ = verify_dataset(read_msd(tmp_path / "data"))
    (fault,) = report["faults"]
    assert "the folder holds 2 DICOM series where one is expected: put each into a folder of its own" in str(fault)

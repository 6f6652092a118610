# SPDX-License-Identifier: Apache-2.0
"""DICOM series in, DICOM SEG out: an exported inference configuration, run on what a PACS hands out."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_ronas.bundle import list_volumes
from monai_ronas.data import DatasetError
from monai_ronas.data.reading import read_volume
from tests.bundle.small_volumes import segment, volume
from tests.dicom_seg_reader import dice, labels_on_grid
from tests.volume_files import orthogonal, write, write_series

HEARTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ACDC"
AFFINES = {"axial": np.diag([-1.5, -1.5, 3.0, 1.0]), "oblique": orthogonal()}
VALUES = {"without holes": (0, 1, 2), "with holes": (0, 1, 4), "above 255": (0, 7, 300)}


def voxels(seed: int = 0) -> np.ndarray:
    return np.rint(100 * volume(seed)).astype(np.int16)


def flat(folder: Path, *series: Path) -> Path:
    """All files of series in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(series):
        for file in sorted(each.iterdir()):
            shutil.move(file, folder / f"{number}_{file.name}")
        each.rmdir()
    return folder


def names(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def heart():
    """A crop of a heart, ``(X, Y, Z)``."""
    path = HEARTS / "imagesTr" / "patient001_frame01.nii.gz"
    if not path.is_file():
        pytest.skip(f"needs the heart volumes of ACDC in {HEARTS}")
    return np.rint(np.asanyarray(nib.load(path).dataobj)[60:84, 60:81, :6]).astype(np.int16)


@pytest.fixture(scope="module", params=[(a, v) for a in AFFINES for v in VALUES], ids=" ".join)
def both(request, heart, tmp_path_factory):
    """A DICOM SEG and the NIfTI of the same prediction."""
    affine, values = request.param
    folder = tmp_path_factory.mktemp("both")
    series = write(folder / "ct", heart, AFFINES[affine])
    for end in (".dcm", ".nii.gz"):
        assert segment(series, folder, values=VALUES[values], foreground=None, output_ext=end) is None
    return folder / "ct_seg.dcm", folder / "ct_seg.nii.gz"


def test_pydicom_alone_reads_what_nifti_has(both):
    expected, affine = read_volume([both[1]])
    found = labels_on_grid(both[0], expected.shape, affine)
    assert np.array_equal(found, expected)
    assert set(dice(found, expected).values()) == {1.0}


def test_dcmqi_reads_what_nifti_has(both, tmp_path):
    """Another implementation: DCMTK and ITK. It is in the wheel ``dcmqi`` of PyPI."""
    program = shutil.which("segimage2itkimage", path=Path(sys.executable).parent) or shutil.which("segimage2itkimage")
    if program is None:
        pytest.skip("needs segimage2itkimage: pip install dcmqi")
    command = [program, "--inputDICOM", str(both[0]), "--outputDirectory", str(tmp_path), "--outputType", "nii"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = sitk.ReadImage(str(both[1]))
    facts = [part for parts in json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"] for part in parts]
    found = np.zeros(expected.GetSize()[::-1], np.int32)
    for number, attributes in enumerate(sorted(facts, key=lambda part: part["labelID"]), start=1):
        image = sitk.ReadImage(str(tmp_path / f"{number}.nii.gz"))
        np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-4)
        np.testing.assert_allclose(image.GetSpacing(), expected.GetSpacing(), atol=1e-4)
        on_grid = sitk.GetArrayFromImage(sitk.Resample(image, expected, interpolator=sitk.sitkNearestNeighbor))
        found[on_grid > 0] = int(attributes["SegmentDescription"].split()[-1])
    assert np.array_equal(found, sitk.GetArrayFromImage(expected))


def test_what_is_no_dicom_series_is_named_and_the_series_are_segmented(tmp_path, caplog):
    write(tmp_path / "in/a.nii.gz", voxels(), np.eye(4))
    write(tmp_path / "in/b", voxels(), np.eye(4))
    write(tmp_path / "in/c.mha", voxels(), np.eye(4))
    sentence = segment(tmp_path / "in", tmp_path / "out", output_ext="dcm")
    words = "it is not a DICOM series, which a DICOM SEG must refer to: choose another output_ext than .dcm"
    assert sentence == f"2 of 3 volume(s) could not be segmented: 'a.nii.gz': {words}; 'c.mha': {words}."
    assert names(tmp_path / "out") == ["b_seg.dcm"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FrameOfReferenceUID": ""}, "the DICOM series does not tell its frame of reference"),
        ({"StudyInstanceUID": lambda k: f"1.2.{k}"}, "no DICOM SEG can refer to this DICOM series ("),
    ],
)
def test_a_series_that_cannot_be_referred_to_is_named_before_it_is_segmented(tmp_path, changes, words):
    write_series(tmp_path / "in/a", voxels(), np.eye(4), **changes)
    write_series(tmp_path / "in/b", voxels(), np.eye(4))
    sentence = segment(tmp_path / "in", tmp_path / "out", output_ext=".dcm")
    assert sentence.startswith("1 of 2 volume(s) could not be segmented: 'a': ")
    assert words in sentence
    assert names(tmp_path / "out") == ["b_seg.dcm"]


def test_without_highdicom_nothing_is_segmented(tmp_path, monkeypatch):
    import importlib.util

    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "highdicom" else known(name, *a))
    write(tmp_path / "in/a", voxels(), np.eye(4))
    sentence = segment(tmp_path / "in", tmp_path / "out", output_ext=".dcm")
    assert sentence == ("DICOM SEG is written by highdicom, which is not installed: pip install monai-ronas[dicom]")
    assert not (tmp_path / "out").exists()
    assert segment(tmp_path / "in", tmp_path / "out") is None


def test_each_series_of_a_folder_is_segmented_on_its_own(tmp_path, caplog):
    series = [
        write_series(tmp_path / "one", voxels(0), np.eye(4), SeriesNumber=3),
        write_series(tmp_path / "two", voxels(1)[:9], orthogonal(), SeriesNumber=4),
    ]
    expected = [read_volume([path])[1] for path in series]
    study = flat(tmp_path / "in/study", *series)
    (study / "notes.txt").touch()
    with caplog.at_level(logging.INFO):
        assert segment(tmp_path / "in", tmp_path / "out") is None
    assert names(tmp_path / "out") == ["study_3_seg.nii.gz", "study_4_seg.nii.gz"]
    for number, shape, affine in zip((3, 4), ((12, 10, 8), (9, 10, 8)), expected, strict=True):
        found, place = read_volume([tmp_path / f"out/study_{number}_seg.nii.gz"])
        assert found.shape == shape
        np.testing.assert_allclose(place, affine, atol=1e-5)
    assert "'study' holds 2 DICOM series, each a volume: 'study_3' ('0_000.dcm' and 7 more), 'study_4'" in caplog.text
    assert "passed over" in caplog.text
    assert "'study/notes.txt'" in caplog.text
    assert segment(study, tmp_path / "flat", output_ext=".dcm") is None
    assert names(tmp_path / "flat") == ["study_3_seg.dcm", "study_4_seg.dcm"]


def test_series_of_one_number_are_named_by_their_uids(tmp_path):
    series = [
        write_series(tmp_path / name, voxels(), np.eye(4), SeriesNumber=1, SeriesInstanceUID=f"1.2.{name}")
        for name in "12"
    ]
    study = flat(tmp_path / "study", *series)
    assert segment(study, tmp_path / "out") is None
    assert names(tmp_path / "out") == ["study_1.2.1_seg.nii.gz", "study_1.2.2_seg.nii.gz"]


def test_a_file_of_a_series_stands_for_it(tmp_path):
    series = [write_series(tmp_path / name, voxels(), np.eye(4), SeriesNumber=name) for name in "12"]
    study = flat(tmp_path / "study", *series)
    assert segment(study / "1_014.dcm", tmp_path / "out") is None
    assert names(tmp_path / "out") == ["study_2_seg.nii.gz"]


def test_a_bad_series_of_a_folder_is_named_and_the_others_are_segmented(tmp_path):
    series = [write_series(tmp_path / name, voxels(), np.eye(4), SeriesNumber=name) for name in "123"]
    study = flat(tmp_path / "in/study", *series)
    (study / "1_014.dcm").unlink()
    (study / "2_056.dcm").write_bytes(b"no DICOM")
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("2 of 4 volume(s) could not be segmented: '1_000.dcm': 1 slice(s) of the DICOM series")
    assert "'2_056.dcm': its DICOM file '2_056.dcm' is not an image that can be read" not in sentence.split(";")[0]
    assert "is not an image that can be read" in sentence
    assert names(tmp_path / "out") == ["study_1_seg.nii.gz", "study_3_seg.nii.gz"]


def test_dicom_objects_that_are_not_images_are_passed_over_and_named(tmp_path, caplog):
    """Reports, structures, and the segmentations of an earlier run."""
    study = write_series(tmp_path / "study", voxels(), np.eye(4))
    report = write_series(
        tmp_path / "report", voxels()[..., :1], np.eye(4), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"
    )
    shutil.move(report / "000.dcm", study / "report.dcm")
    for _ in range(2):
        caplog.clear()
        assert segment(study, study, output_ext=".dcm") is None
        assert [name for name in names(study) if "seg" in name] == ["study_seg.dcm"]
        assert "'report.dcm'" in caplog.text
    assert "'study_seg.dcm'" in caplog.text
    report.rmdir()
    (tmp_path / "only").mkdir()
    shutil.move(study / "report.dcm", tmp_path / "only")
    with pytest.raises(DatasetError, match="holds no volume"):
        list_volumes(tmp_path / "only")


@pytest.mark.parametrize("form", ["straight", "oblique", "slopes"])
def test_what_monai_label_makes_of_a_series_is_segmented_alike(tmp_path, form):
    """Its server converts a series with SimpleITK as here (``dicom_to_nifti`` of MONAI Label 0.8.5)."""
    affine = orthogonal() if form == "oblique" else np.diag([1.5, 2.0, 3.0, 1.0])
    slopes = {"RescaleSlope": 2, "RescaleIntercept": -1024} if form == "slopes" else {}
    even = (voxels() - voxels() % 2)[:, :9]  # of sizes that no rounding of the affine makes longer by a voxel
    series = write_series(tmp_path / "in/a", even, affine, **slopes)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    (tmp_path / "label").mkdir()
    sitk.WriteImage(reader.Execute(), str(tmp_path / "label/a.nii.gz"))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "a.nrrd"))
    own, place = read_volume([series])
    for name in ("label/a.nii.gz", "a.nrrd"):
        found, other = read_volume([tmp_path / name])
        assert np.array_equal(found, own)
        np.testing.assert_allclose(other, place, atol=1e-4)
    for folder in ("in", "label"):
        assert segment(tmp_path / folder, tmp_path / "out" / folder, foreground=None, output_ext=".nii") is None
    expected, place = read_volume([tmp_path / "out/in/a_seg.nii"])
    assert 0 < expected.mean() < 1
    found, other = read_volume([tmp_path / "out/label/a_seg.nii"])
    assert (found != expected).mean() < 1e-3
    np.testing.assert_allclose(other, place, atol=1e-4)

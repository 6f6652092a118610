# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from pydicom import dcmread

import monai_ronas
from monai_ronas.data import DicomSegWriter, VolumeError
from monai_ronas.data.segment_codes import segments_of
from tests.dicom_seg_reader import labels_on_grid
from tests.volume_files import FLIP, orthogonal, write_series

SHAPE = (9, 8, 7)
KIDNEY = {"CodeValue": "64033007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Kidney"}
LEFT = {"CodeValue": "7771000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Left"}
CODES = {
    1: {
        "SegmentedPropertyTypeCodeSequence": KIDNEY,
        "SegmentedPropertyTypeModifierCodeSequence": LEFT,
        "AnatomicRegionSequence": KIDNEY,
    }
}
LABELS = {0: "background", 1: "kidney", 4: "Ödem \\ 水"}


def writer(root, labels=LABELS) -> DicomSegWriter:
    return DicomSegWriter(segments_of(labels, CODES), bundle_root=root / "kidneys")


def labels(seed: int = 0, values: tuple[int, ...] = (0, 1, 4)) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, SHAPE).astype(np.uint16)


def series(root, **changes):
    return write_series(root / "ct", labels().astype(np.int16), orthogonal(), **changes)


def test_it_says_what_it_is_and_where_it_is_from(tmp_path):
    facts = {"PatientName": "Doe^Jane", "PatientSex": "F", "StudyDate": "20200229", "SeriesNumber": 7}
    source = [dcmread(path) for path in sorted(series(tmp_path, **facts).iterdir())]
    writer(tmp_path).write(tmp_path / "out/a.dcm", labels(), tmp_path / "ct")
    found = dcmread(tmp_path / "out/a.dcm")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientSex", "StudyDate"):
        assert found[name].value == source[0][name].value
    assert (found.Modality, found.SeriesNumber) == ("SEG", 1007)
    assert found.SeriesInstanceUID != source[0].SeriesInstanceUID
    uids = {file.SOPInstanceUID for file in source}
    (referenced,) = found.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == uids
    assert float(
        found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    ) == pytest.approx(3)
    places = {file.SOPInstanceUID: list(file.ImagePositionPatient) for file in source}
    for frame in found.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, places[image.ReferencedSOPInstanceUID], atol=1e-6)
    first, second = found.SegmentSequence
    assert [first.SegmentNumber, first.SegmentLabel, first.SegmentDescription] == [1, "kidney", "label value 1"]
    assert [second.SegmentNumber, second.SegmentLabel, second.SegmentDescription] == [2, "Ödem / 水", "label value 4"]
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("64033007", "SCT", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert first.AnatomicRegionSequence[0].CodeMeaning == "Kidney"
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "85756007"
    assert second.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    (algorithm,) = second.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmSource) == ("monai_ronas kidneys", "monai_ronas")
    assert algorithm.AlgorithmVersion == found.SoftwareVersions == monai_ronas.__version__
    assert second.SegmentAlgorithmType == "AUTOMATIC"


def test_a_name_in_another_character_set_and_missing_facts_do_no_harm(tmp_path):
    folder = series(tmp_path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", SliceThickness=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer(tmp_path).write(tmp_path / "a.dcm", labels(), folder)
    found = dcmread(tmp_path / "a.dcm")
    assert (found.PatientName, found.SpecificCharacterSet) == ("Müller^Jörg", "ISO_IR 192")
    assert found.SegmentSequence[1].SegmentLabel == "Ödem / 水"
    assert np.array_equal(labels_on_grid(tmp_path / "a.dcm", SHAPE, orthogonal()), labels())


def test_the_names_of_patients_are_not_told_by_warnings(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer(tmp_path).check(series(tmp_path, PatientName="Doe"))


def test_slices_of_a_tilted_gantry_lie_where_they_are(tmp_path):
    affine = FLIP @ np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    folder = series(
        tmp_path,
        ImagePositionPatient=lambda k: [0, k, 3 * k],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[1, 1],
    )
    writer(tmp_path).write(tmp_path / "a.dcm", labels(), folder)
    assert np.array_equal(labels_on_grid(tmp_path / "a.dcm", SHAPE, affine), labels())


def test_frames_without_a_segment_are_left_out(tmp_path):
    part = labels()
    part[..., 2:] = 0
    part[..., 1][part[..., 1] == 4] = 1
    writer(tmp_path).write(tmp_path / "a.dcm", part, series(tmp_path))
    assert dcmread(tmp_path / "a.dcm").NumberOfFrames == 3
    assert np.array_equal(labels_on_grid(tmp_path / "a.dcm", SHAPE, orthogonal()), part)


def test_an_empty_prediction_has_a_frame_for_each_segment_and_refers_to_all_slices(tmp_path):
    writer(tmp_path).write(tmp_path / "a.dcm", np.zeros(SHAPE, np.uint8), series(tmp_path))
    found = dcmread(tmp_path / "a.dcm")
    assert found.NumberOfFrames == 2
    assert len(found.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == SHAPE[2]
    assert not labels_on_grid(tmp_path / "a.dcm", SHAPE, orthogonal()).any()


def test_a_single_slice_and_more_than_255_segments(tmp_path):
    many = dict(enumerate(["background", *(f"part {k}" for k in range(1, 301))]))
    folder = write_series(tmp_path / "ct", labels()[..., :1].astype(np.int16), orthogonal())
    part = labels(values=(0, 1, 300))[..., :1]
    DicomSegWriter(segments_of(many), bundle_root=tmp_path).write(tmp_path / "a.dcm", part, folder)
    assert np.array_equal(labels_on_grid(tmp_path / "a.dcm", part.shape, orthogonal()), part)


def test_long_names_are_cut(tmp_path):
    long = DicomSegWriter(segments_of({0: "background", 1: "x" * 100}), bundle_root=tmp_path / ("b" * 100))
    long.write(tmp_path / "a.dcm", labels(values=(0, 1)), series(tmp_path))
    assert dcmread(tmp_path / "a.dcm").SegmentSequence[0].SegmentLabel == "x" * 64


def test_wrong_headers_are_told_in_a_sentence(tmp_path):
    folder = series(tmp_path, PatientSex="X")
    with pytest.raises(VolumeError, match=r"^'ct': no DICOM SEG can refer to this DICOM series \('X' is not a valid"):
        writer(tmp_path).check(folder)


def test_wrong_headers_of_a_later_slice_are_told_before_anything_is_segmented(tmp_path):
    folder = series(tmp_path)
    last = sorted(folder.iterdir())[-1]
    header = dcmread(last)
    header.StudyInstanceUID = "1.2.3"
    header.save_as(last)
    with pytest.raises(VolumeError, match=r"^'ct': no DICOM SEG can refer to this DICOM series"):
        writer(tmp_path).check(folder)


def test_highdicom_is_imported_when_it_is_needed():
    code = "import sys, monai_ronas.bundle; print('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"

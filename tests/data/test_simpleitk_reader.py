# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import LoadImaged

from monai_ronas.data import LoadVolumed, SimpleITKReader, VolumeError
from tests.volume_files import orthogonal, write, write_series

SHAPE = (9, 8, 7)
AFFINES = {"straight": np.diag([1.5, 2.0, 3.0, 1.0]), "oblique": orthogonal()}


def volume(channels: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(-500, 1500, SHAPE if channels is None else (*SHAPE, channels)).astype(np.int16)


def load(path, key="image"):
    return LoadVolumed(key)({key: [str(p) for p in path] if isinstance(path, list) else str(path)})[key]


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "series"])
def test_a_volume_is_the_same_in_every_format(tmp_path, name, affine):
    """As MONAI reads it through nibabel, by the dotted path of the reader and by our own loading."""
    expected = LoadImaged("image", ensure_channel_first=True)(
        {"image": str(write(tmp_path / "a.nii.gz", volume(), AFFINES[affine]))}
    )["image"]
    path = write(tmp_path / name, volume(), AFFINES[affine])
    named = LoadImaged("image", reader="monai_ronas.data.SimpleITKReader", ensure_channel_first=True)
    for found in (named({"image": str(path)})["image"], load(path)):
        assert found.shape == expected.shape
        assert np.array_equal(found, expected)
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)
        np.testing.assert_allclose(found.meta["original_affine"], expected.affine, atol=1e-6)
        assert found.meta["spatial_shape"].tolist() == list(SHAPE)
        assert found.meta["filename_or_obj"] == str(path)
        assert found.meta["space"] == expected.meta["space"]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nhdr"])
def test_channels_are_a_fourth_axis_a_vector_or_files(tmp_path, ending):
    expected = load(write(tmp_path / "a.nii.gz", volume(2), AFFINES["oblique"]))
    vector = write(tmp_path / f"vector{ending}", volume(2), AFFINES["oblique"])
    files = [write(tmp_path / f"{k}{ending}", volume(2)[..., k], AFFINES["oblique"]) for k in (0, 1)]
    fourth = tmp_path / f"fourth{ending}"
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(file)) for file in files]), str(fourth))
    for path in (vector, fourth, files):
        found = load(path)
        assert found.shape == (2, *SHAPE)
        assert np.array_equal(found, expected)
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)


def test_channels_on_different_grids_are_refused(tmp_path):
    affine = np.eye(4)
    first = write(tmp_path / "a.mha", volume(), affine)
    for name, voxels, origin, words in (
        ("b.mha", volume(), 0.5, "the affines of the files of its channels differ by 0.5"),
        ("c.mha", volume()[1:], 0, r"the files of its channels have \(9, 8, 7\) and \(8, 8, 7\) voxels"),
    ):
        affine[0, 3] = origin
        with pytest.raises(VolumeError, match=words):
            load([first, write(tmp_path / name, voxels, affine)])


def test_slope_and_intercept_may_be_each_slices_own(tmp_path):
    values = volume().astype(np.float32)
    values = values - values % 3 + 0.5 * (np.arange(7) % 2)
    slopes = {"RescaleSlope": lambda k: [3, 0.5][k % 2], "RescaleIntercept": lambda k: [0, 10.5][k % 2]}
    found = load(write_series(tmp_path / "series", values, np.eye(4), **slopes))
    assert np.array_equal(found[0], values)


def test_the_order_of_the_slices_is_that_of_gdcm(tmp_path):
    folder = write_series(tmp_path / "series", volume(), AFFINES["oblique"])
    (folder / "notes.txt").write_text("not DICOM")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(names)).transpose(2, 1, 0)
    assert np.array_equal(load(folder)[0], expected)


def test_the_slices_of_a_tilted_gantry_keep_their_shear(tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = -1.0
    positions = {"ImagePositionPatient": lambda k: [0, k, 3 * k]}
    found = load(write_series(tmp_path / "series", volume(), np.diag([-1.0, -1.0, 3.0, 1.0]), **positions))
    np.testing.assert_allclose(np.abs(found.affine), np.abs(affine), atol=1e-6)
    assert found.affine[1, 2] == -1


def positions(*heights):
    return lambda k: [0, 0, heights[k]]


REFUSED = {
    "missing slices": (
        {"ImagePositionPatient": positions(0, 2, 4, 10, 12, 14, 16)},
        "2 slice(s) of the DICOM series are missing, the first after '014.dcm'",
    ),
    "a doubled slice": (
        {"ImagePositionPatient": positions(0, 2, 4, 4, 6, 8, 10)},
        "1 position(s) of the DICOM series have more than one slice",
    ),
    "uneven gaps": (
        {"ImagePositionPatient": positions(0, 2, 4, 6.6, 8, 10, 12)},
        "the slices of the DICOM series are unevenly spaced, 1.4 to 2.6 mm, one 0.6 mm from where it should be",
    ),
    "two series": (
        {"SeriesInstanceUID": lambda k: f"1.2.{k % 2}"},
        "the folder holds 2 DICOM series where one is expected: put each into a folder of its own",
    ),
    "slices across": (
        {"ImageOrientationPatient": lambda k: [1, 0, 0, 0, k % 2, 1 - k % 2]},
        "the DICOM slices are not parallel",
    ),
    "other pixels": (
        {"PixelSpacing": lambda k: [1, 1 + (k == 3)]},
        "the DICOM slices differ in size or in the size of their pixels ('000.dcm', '021.dcm')",
    ),
    "colour": (
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8,
         "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "Rows": 4, "Columns": 4, "PixelData": b"\1" * 48},
        "the DICOM file '000.dcm' is in colour",
    ),
    "no position": (
        {"ImagePositionPatient": None},
        "the DICOM file '000.dcm' does not tell the position of its slice",
    ),
    "the same slice twice": (
        {"SOPInstanceUID": lambda k: f"1.2.{min(k, 5)}"},
        "the same DICOM slice is there twice ('035.dcm', '042.dcm'): take one of them away",
    ),
    "frames": (
        {"NumberOfFrames": 3, "Rows": 4, "Columns": 4, "PixelData": b"\1" * 96},
        "the DICOM file '000.dcm' has 3 frames, which is not supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_one_volume_is_refused_in_a_sentence(tmp_path, form):
    changes, words = REFUSED[form]
    folder = write_series(tmp_path / "series", volume(), np.diag([-1.0, -1.0, 2.0, 1.0]), **changes)
    with pytest.raises(VolumeError) as caught:
        load(folder)
    assert str(caught.value).startswith("'series': ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_several_volumes_in_a_folder_are_refused(tmp_path):
    for number in range(3):
        write_series(tmp_path / str(number), volume(), np.diag([-1.0, -1.0, 2.0, 1.0]), SeriesInstanceUID="1.2.3")
        for file in (tmp_path / str(number)).iterdir():
            (tmp_path / "all").mkdir(exist_ok=True)
            file.rename(tmp_path / "all" / f"{number}_{file.name}")
    with pytest.raises(VolumeError, match="has 3 slices at each of its 7 positions, such as several b-values"):
        load(tmp_path / "all")


def test_enhanced_multi_frame_is_refused(tmp_path):
    """The positions lie in the groups of the frames, as modern scanners write it."""
    from pydicom import Dataset, dcmread
    from pydicom.uid import EnhancedMRImageStorage

    folder = write_series(tmp_path / "series", volume()[..., :1], np.eye(4), SOPClassUID=EnhancedMRImageStorage)
    file = dcmread(folder / "000.dcm")
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = file.ImageOrientationPatient
    shared.PixelMeasuresSequence[0].PixelSpacing = file.PixelSpacing
    for number in range(3):
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * number]
        frames.append(frame)
    file.SharedFunctionalGroupsSequence, file.PerFrameFunctionalGroupsSequence = [shared], frames
    file.NumberOfFrames, file.PixelData = 3, 3 * file.PixelData
    for name in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        delattr(file, name)
    file.save_as(folder / "000.dcm")
    with pytest.raises(VolumeError, match=r"'000\.dcm' has 3 frames, which is not supported: convert it"):
        load(folder)


def test_a_file_stands_for_its_series_in_a_folder_of_several(tmp_path):
    expected = {}
    for name in "ab":
        values = volume() + ord(name)
        write_series(tmp_path / name, values, AFFINES["oblique"])
        for file in (tmp_path / name).iterdir():
            (tmp_path / "all").mkdir(exist_ok=True)
            file.rename(tmp_path / "all" / f"{name}_{file.name}")
        expected[name] = values
    for name, values in expected.items():
        found = load(tmp_path / "all" / f"{name}_014.dcm")
        assert np.array_equal(found[0], values)
        np.testing.assert_allclose(found.affine, AFFINES["oblique"], atol=1e-6)
    (tmp_path / "all/a_014.dcm").unlink()
    with pytest.raises(VolumeError, match=r"^'a_000.dcm': 1 slice\(s\) of the DICOM series are missing, the first"):
        load(tmp_path / "all/a_000.dcm")


OTHERS = {"report": "88.11", "structures": "481.3", "raw data": "66", "segmentation": "66.4", "view": "11.1"}


@pytest.mark.parametrize("kind", OTHERS)
def test_dicom_objects_that_are_not_images_are_no_slices(tmp_path, kind):
    folder = write_series(tmp_path / "series", volume(), AFFINES["oblique"])
    other = write_series(tmp_path / "other", volume(), np.eye(4), SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{OTHERS[kind]}")
    (other / "000.dcm").rename(folder / "other.dcm")
    (other / "007.dcm").rename(folder / "IM0001")
    assert np.array_equal(load(folder)[0], volume())
    assert not SimpleITKReader().verify_suffix(other)


def test_a_damaged_slice_is_named(tmp_path):
    folder = write_series(tmp_path / "series", volume(), np.eye(4))
    (folder / "007.dcm").write_bytes(b"no DICOM")
    with pytest.raises(VolumeError, match=r"'series': its DICOM file '007\.dcm' is not an image that can be read"):
        load(folder)


@pytest.mark.parametrize("kept", [0, 50, -100])
@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_a_cut_file_is_named(tmp_path, ending, kept):
    path = write(tmp_path / f"a{ending}", volume(), np.eye(4))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(VolumeError, match=rf"^'a\{ending}': the image file cannot be read \(RuntimeError: ") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_complex_values_are_told(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 4, 4), np.complex64)), str(tmp_path / "a.nrrd"))
    assert load(tmp_path / "a.nrrd").meta["datatype"] == nib.nifti1.data_type_codes["complex64"]


def test_other_formats_are_left_to_other_readers(tmp_path):
    reader = SimpleITKReader()
    (tmp_path / "empty").mkdir()
    assert not any(reader.verify_suffix(tmp_path / name) for name in ("a.nii", "a.nii.gz", "empty", "a.png"))
    assert not reader.verify_suffix(["a.mha", "a.nii"])
    with pytest.raises(ValueError, match=r"'a\.nii' is neither \.nrrd"):
        reader.read(tmp_path / "a.nii")


def test_it_is_imported_when_it_is_needed():
    code = "import sys, monai_ronas.data; print('SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"

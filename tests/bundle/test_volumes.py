# SPDX-License-Identifier: Apache-2.0
"""Every volume of a folder is segmented or named: an exported inference configuration, run on odd folders."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.bundle import PredictionFiles, SavePredictiond, SoundVolumes, list_volumes
from monai_ronas.data import DatasetError
from monai_ronas.data.formats import ending
from monai_ronas.data.reading import read_volume
from tests.bundle.small_volumes import BAD, SHAPE, save, segment, volume
from tests.volume_files import orthogonal, write


@pytest.mark.parametrize("form", BAD)
def test_a_bad_volume_is_named_and_the_others_are_segmented(tmp_path, caplog, form):
    write, expected = BAD[form]
    save(tmp_path / "in/a.nii.gz", volume(1))
    write(tmp_path / "in/b.nii.gz")
    save(tmp_path / "in/c.nii.gz", volume(2))
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("1 of 3 volume(s) could not be segmented: 'b.nii.gz': the image")
    assert expected in sentence
    assert "\n" not in sentence
    assert expected in caplog.text
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_seg.nii.gz", "c_seg.nii.gz"]
    assert np.asarray(nib.load(tmp_path / "out/c_seg.nii.gz").dataobj).all()


def test_where_no_volume_can_be_segmented_that_is_said_alone(tmp_path, caplog):
    for name in ("a", "b"):
        BAD["NaN"][0](save(tmp_path / f"in/{name}.nii"))
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("2 of 2 volume(s) could not be segmented: 'a.nii': the image holds 1 NaN")
    assert not (tmp_path / "out").exists()


def test_an_empty_mask_is_told(tmp_path, caplog):
    save(tmp_path / "in/a.nii.gz")
    assert segment(tmp_path / "in", tmp_path / "out", foreground=False) is None
    assert "'a.nii.gz': the network finds no foreground in it" in caplog.text
    assert not np.asarray(nib.load(tmp_path / "out/a_seg.nii.gz").dataobj).any()


@pytest.mark.parametrize("shape", [SHAPE, (12, 10, 1), (1, 10, 8), (12, 1, 8), (12, 1, 1)])
@pytest.mark.parametrize("codes", ["RAS", "SPL"])
def test_a_prediction_has_the_shape_of_its_volume(tmp_path, shape, codes):
    stored = nib.Nifti1Image(volume(shape=shape), np.diag([1, 1, 1.5, 1]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(stored.affine), nib.orientations.axcodes2ornt(codes))
    stored = stored.as_reoriented(turn)
    (tmp_path / "in").mkdir()
    nib.save(stored, tmp_path / "in/a.nii.gz")
    assert segment(tmp_path / "in", tmp_path / "out") is None
    found = nib.load(tmp_path / "out/a_seg.nii.gz")
    assert found.shape == stored.shape
    np.testing.assert_allclose(found.affine, stored.affine, atol=1e-5)


@pytest.mark.parametrize(("classes", "kind"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (300, "uint16")])
def test_every_label_has_room_in_the_file(tmp_path, classes, kind):
    save(tmp_path / "in/a.nii.gz")
    segment(tmp_path / "in", tmp_path / "out", classes=classes)
    found = nib.load(tmp_path / "out/a_seg.nii.gz")
    assert found.get_data_dtype() == kind
    assert np.unique(found.dataobj).tolist() == [classes - 1]


def test_two_volumes_of_one_stem_have_a_prediction_each(tmp_path):
    save(tmp_path / "in/a.nii.gz", volume(shape=(4, 5, 6)))
    save(tmp_path / "in/a.nii", volume(shape=(6, 5, 4)))
    save(tmp_path / "in/a.b.nii", volume(shape=(5, 5, 5)))
    assert segment(tmp_path / "in", tmp_path / "out") is None
    shapes = {p.name: nib.load(p).shape for p in (tmp_path / "out").iterdir()}
    assert shapes == {"a_seg.nii.gz": (4, 5, 6), "a.nii_seg.nii.gz": (6, 5, 4), "a.b_seg.nii.gz": (5, 5, 5)}


def test_volumes_of_one_name_from_two_folders_are_not_written_over(tmp_path):
    paths = [str(save(tmp_path / folder / "a.nii.gz")) for folder in ("x", "y")]
    predictions = PredictionFiles(tmp_path / "elsewhere", tmp_path / "out")
    volumes = SoundVolumes([{"image": path} for path in paths], lambda item: item["image"], predictions=predictions)
    assert list(volumes) == paths[:1]
    with pytest.raises(DatasetError, match=r"1 of 2 .*y/a.nii.gz': its prediction would have the name of that for"):
        volumes.end()


@pytest.mark.parametrize("out", ["in", "in/out", "out"])
def test_a_second_run_segments_the_same_volumes(tmp_path, caplog, out):
    save(tmp_path / "in/a.nii.gz", volume(1))
    save(tmp_path / "in/b_seg.nii.gz", volume(2))  # a volume that bears such a name is no prediction
    for _ in range(2):
        assert segment(tmp_path / "in", tmp_path / out) is None
    names = ["a_seg.nii.gz", "b_seg_seg.nii.gz"]
    assert sorted(p.name for p in (tmp_path / out).iterdir() if "b_seg.nii" not in p.name and p.name != "a.nii.gz") == (
        names
    )
    assert ("passed over" in caplog.text) == (out == "in")


def test_predictions_of_another_format_are_no_volumes(tmp_path, caplog):
    save(tmp_path / "a.nii.gz", volume(1))
    for end in (None, ".mha", None):
        assert segment(tmp_path, tmp_path, output_ext=end) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "a_seg.mha", "a_seg.nii.gz"]
    assert "a DICOM series): 'a_seg.mha', 'a_seg.nii.gz'" in caplog.text


def test_what_is_passed_over_is_named(tmp_path, caplog):
    for name in ("a.nii", "notes.txt", "scan.mha", ".hidden", "case_0/imaging.nii.gz", "case_0/report.pdf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with caplog.at_level(logging.WARNING):
        assert list_volumes(tmp_path) == [str(tmp_path / p) for p in ("a.nii", "case_0/imaging.nii.gz", "scan.mha")]
    assert "folders of a DICOM series): 'case_0/report.pdf', 'notes.txt'" in caplog.text
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match=r"holds no volume \(\.nii"):
        list_volumes(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"notes\.txt' is neither a folder nor a volume"):
        list_volumes(tmp_path / "notes.txt")


def test_a_mixed_heap_is_segmented_in_the_format_and_place_of_each(tmp_path, caplog):
    voxels = np.rint(100 * volume()).astype(np.int16)
    names = ("a.nii", "p1/b.nrrd", "p1/t1/b.mha", "p2/b.mhd", "p2/b.nhdr", "p2/series one", "p2/series/two", "series")
    for name in names:
        write(tmp_path / "in" / name, voxels, orthogonal())
    (tmp_path / "in/p2/notes.txt").touch()
    with caplog.at_level(logging.INFO):
        assert segment(tmp_path / "in", tmp_path / "out") is None
    out = tmp_path / "out"
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if ending(path)}
    assert set(found) == {
        *("a_seg.nii.gz", "p1/b_seg.nrrd", "p1/t1/b_seg.mha", "p2/b_seg.mhd", "p2/b_seg.nhdr"),
        *("p2/series one_seg.nii.gz", "p2/series/two_seg.nii.gz", "series_seg.nii.gz"),
    }
    for path in found.values():
        prediction, affine = read_volume([path])
        assert prediction.dtype == np.uint8
        assert prediction.shape == SHAPE
        assert prediction.all()
        np.testing.assert_allclose(affine, orthogonal(), atol=1e-5)
    lines = [line for line in caplog.messages if line.startswith("segmented: ")]
    assert len(lines) == len(names)
    assert all(re.fullmatch(r"segmented: '.*' in \d+\.\d s", line) for line in lines)
    assert "'p2/notes.txt'" in caplog.text
    assert ".raw" not in caplog.text.split("passed over")[1]


@pytest.mark.parametrize("name", ["a.mha", "series"])
def test_a_single_volume_may_be_given(tmp_path, name):
    path = write(tmp_path / "in" / name, np.rint(100 * volume()).astype(np.int16), orthogonal())
    write(tmp_path / "in/other.nii", volume(1), np.eye(4))
    assert segment(path, tmp_path / "out", output_ext="nrrd") is None
    (found,) = (tmp_path / "out").iterdir()
    assert found.name == f"{path.stem}_seg.nrrd"
    np.testing.assert_allclose(read_volume([found])[1], orthogonal(), atol=1e-5)


def test_an_unknown_ending_is_refused(tmp_path):
    save(tmp_path / "in/a.nii")
    sentence = segment(tmp_path / "in", tmp_path / "out", output_ext=".png")
    assert sentence.startswith("output_ext must be null or one of .nii.gz, .nii, .nrrd")


def test_a_bad_series_among_others_is_named(tmp_path):
    voxels = np.rint(100 * volume()).astype(np.int16)
    for name in ("p1/ct", "p2/ct", "p3/ct"):
        write(tmp_path / "in" / name, voxels, np.eye(4))
    sorted((tmp_path / "in/p2/ct").iterdir())[3].unlink()
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("1 of 3 volume(s) could not be segmented: 'p2/ct': 1 slice(s) of the DICOM")
    assert sorted(p.parent.name for p in (tmp_path / "out").rglob("*.gz")) == ["p1", "p3"]


def test_a_bad_volume_does_not_take_the_name_of_a_good_one(tmp_path):
    write(tmp_path / "in/a", np.rint(100 * volume()).astype(np.int16), np.eye(4))
    sorted((tmp_path / "in/a").iterdir())[3].unlink()
    save(tmp_path / "in/a.nii.gz")
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("1 of 2 volume(s) could not be segmented: 'a': 1 slice(s) of the DICOM series are")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]


def test_names_of_predictions(tmp_path):
    files = PredictionFiles(tmp_path, tmp_path / "out")
    names = ("a.nii", "b.nii.gz", "x/c.v1.nii.gz", "d_0000.nii")
    assert [str(files.path(tmp_path / name).relative_to(tmp_path / "out")) for name in names] == [
        "a_seg.nii.gz",
        "b_seg.nii.gz",
        "x/c.v1_seg.nii.gz",
        "d_0000_seg.nii.gz",
    ]


def test_numbers_at_the_end_of_names_are_channels_only_where_there_are_several(tmp_path):
    for name in ("a.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz"):
        save(tmp_path / "in" / name, volume(1))
    assert segment(tmp_path / "in", tmp_path / "out") is None
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["a_0000_seg.nii.gz", "a_0001_seg.nii.gz", "a_seg.nii.gz"]


def test_links_to_a_folder_above_are_not_followed(tmp_path):
    save(tmp_path / "in/p1/a.nii.gz")
    (tmp_path / "in/p1/up").symlink_to("..")
    (tmp_path / "in/p2").symlink_to("p1")
    assert list_volumes(tmp_path / "in") == [str(tmp_path / f"in/{name}/a.nii.gz") for name in ("p1", "p2")]


def test_a_folder_that_may_not_be_read_is_told_and_the_others_are_segmented(tmp_path, monkeypatch):
    for name in ("a.nii.gz", "b/c.nii.gz", "b/closed/d.nii.gz", "e/f.nii.gz"):
        save(tmp_path / "in" / name, volume())
    listed = Path.iterdir

    def iterdir(folder):  # as for another user; root may read all
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence == "1 of 4 volume(s) could not be segmented: 'b/closed' cannot be read (Permission denied)."
    found = [str(p.relative_to(tmp_path / "out")) for p in sorted((tmp_path / "out").rglob("*.gz"))]
    assert found == ["a_seg.nii.gz", "b/c_seg.nii.gz", "e/f_seg.nii.gz"]


def test_an_ending_in_capital_letters_is_told(tmp_path):
    save(tmp_path / "in/a.nii.gz")
    (tmp_path / "in/p/B.NRRD").parent.mkdir()
    (tmp_path / "in/p/B.NRRD").touch()
    sentence = segment(tmp_path / "in", tmp_path / "out")
    assert sentence.startswith("1 of 2 volume(s) could not be segmented: 'p/B.NRRD' has an ending in capital letters:")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]
    with pytest.raises(DatasetError, match=r"B\.NRRD' has an ending in capital letters: rename it to small ones"):
        list_volumes(tmp_path / "in/p/B.NRRD")


def test_the_log_names_a_prediction_as_its_folder_was_given(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    found = MetaTensor(torch.ones(1, 4, 4, 4), meta={"filename_or_obj": str(tmp_path / "in/x/a.nii.gz")})
    SavePredictiond("pred", files=PredictionFiles("in", "out"), output_dtype="uint8")({"pred": found})
    assert caplog.messages == ["written: 'out/x/a_seg.nii.gz'"]
    assert (tmp_path / "out/x/a_seg.nii.gz").is_file()


@pytest.mark.parametrize(("values", "kind"), [((0, 1, 4), np.uint8), ((0, 7, 300), np.uint16), ((0, 65535), np.uint16)])
def test_predictions_have_the_declared_values(tmp_path, values, kind):
    save(tmp_path / "in/a.nii.gz")
    assert segment(tmp_path / "in", tmp_path / "out", values=values) is None
    found = nib.load(tmp_path / "out/a_seg.nii.gz")
    assert found.get_data_dtype() == kind
    assert np.unique(np.asarray(found.dataobj)).tolist() == [values[-1]]

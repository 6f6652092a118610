# SPDX-License-Identifier: Apache-2.0
"""Every volume of a folder is segmented or named: an exported inference configuration, run on odd folders."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_ronas import find_error
from monai_ronas.bundle import SoundVolumes, list_volumes, prediction_name
from monai_ronas.bundle.configs import Derived, inference_config
from monai_ronas.data import DatasetError, Fingerprint, VolumeError

SHAPE = (12, 10, 8)
FINGERPRINT = Fingerprint(
    name="Toy",
    spatial_dims=3,
    modality=("MRI",),
    labels={0: "background", 1: "organ"},
    num_cases=1,
    target_spacing=(1.0, 1.0, 1.0),
    median_shape=SHAPE,
    max_shape=SHAPE,
    min_shape=SHAPE,
    crop_foreground=False,
    normalization=({"mode": "zscore"},),
)


def volume(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 3, shape).astype(np.float32)


def save(path: Path, data: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume() if data is None else data, np.eye(4) if affine is None else affine), path)
    return path


def segment(
    folder: Path, out: Path, *, classes: int = 2, foreground: bool = True, values: tuple[int, ...] = ()
) -> str | None:
    """Run ``inference.json`` with a network of arbitrary weights; returns the sentence at the end, if there is one."""
    values = values or tuple(range(classes))
    classes = len(values)
    network = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": classes,
        "channels": (2, 2),
        "strides": ((1, 1, 1), (1, 1, 1)),
        "dilations": (1, 1),
        "deep_supervision": False,
    }
    labels = {value: str(value) for value in values}
    derived = Derived(
        network,
        (1, 1, 1),
        (4, 4, 4),
        10**6,
        Fingerprint(**{**vars(FINGERPRINT), "labels": labels}),
        batch_size=1,
        amp=False,
        flip_axes=(),
        test_time_flips=False,
    )
    torch.manual_seed(0)
    config = {**inference_config(derived), "dataset_dir": str(folder), "output_dir": str(out), "handlers": []}
    parser = ConfigParser({**config, "device": "cpu"})
    head = parser.get_parsed_content("network_def").heads[0]
    with torch.no_grad():
        head.bias[-1] = 100.0 if foreground else -100.0
    try:
        for number in range(3):
            parser.get_parsed_content(f"run#{number}")
    except RuntimeError as error:
        return str(find_error(error))
    return None


def cut(path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:-1000])


def nan(value: float):
    def write(path: Path) -> None:
        data = volume()
        data[0, 0, 0] = value
        save(path, data)

    return write


BAD = {
    "NaN": (nan(np.nan), "the image holds 1 NaN or infinite value(s)"),
    "infinite": (nan(-np.inf), "the image holds 1 NaN or infinite value(s)"),
    "a mark for no data": (nan(-3.4e38), "the image holds -3.4e+38, perhaps a mark for no data"),
    "constant": (lambda path: save(path, np.full(SHAPE, 5.0, np.float32)), "the same value, 5, everywhere"),
    "metres": (lambda path: save(path, affine=np.diag([1e-3, 1e-3, 1e-3, 1])), "resampled to 1 x 1 x 1 voxels"),
    "micrometres": (lambda path: save(path, affine=np.diag([1e3, 1e3, 1e3, 1])), "to 11001 x 9001 x 7001 voxels"),
    "four channels": (lambda path: save(path, volume(shape=(*SHAPE, 4))), "4 channel(s), or moments of time, where"),
    "flat": (lambda path: save(path, volume()[..., 0]), "the image has shape (12, 10) where a volume"),
    "cut": (cut, "the image file cannot be read (EOFError: Compressed file ended before"),
    "empty": (lambda path: path.write_bytes(b""), "the image file cannot be read ("),
    "text": (lambda path: path.write_bytes(b"no volume"), "the image file cannot be read ("),
    "folder": (lambda path: save(path / "volume.nii"), "the image file cannot be read (it is a folder)"),
}


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
    volumes = SoundVolumes([{"image": path} for path in paths], lambda item: item["image"])
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


def test_what_is_passed_over_is_named(tmp_path, caplog):
    for name in ("a.nii", "notes.txt", "scan.mha", ".hidden", "case_0/imaging.nii.gz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with caplog.at_level(logging.WARNING):
        assert list_volumes(tmp_path) == [str(tmp_path / "a.nii")]
    assert "(.nii, .nii.gz): 'case_0', 'notes.txt', 'scan.mha'" in caplog.text
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match=r"holds no \.nii"):
        list_volumes(tmp_path / "none")


def test_another_error_is_no_fault_of_a_volume(caplog):
    def broken(item):
        raise RuntimeError("a bug")

    volumes = SoundVolumes([{"image": "a.nii"}], broken)
    with pytest.raises(RuntimeError, match="a bug"):
        volumes.begin()
    assert "in 'a.nii':" in caplog.text


@pytest.mark.parametrize("cause", [MemoryError("no memory"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_memory_that_does_not_suffice_for_a_volume_is_told(cause):
    def wrapped(item):
        if item["image"] == "b.nii":
            raise RuntimeError("applying transform") from cause
        return item

    volumes = SoundVolumes([{"image": f"{name}.nii"} for name in "abc"], wrapped)
    volumes.begin()
    assert [item["image"] for item in volumes] == ["a.nii", "c.nii"]
    with pytest.raises(DatasetError, match=r"1 of 3 .*'b.nii': the memory does not suffice"):
        volumes.end()


def test_an_iteration_without_a_beginning_has_all_items():
    def some(item):
        if item["image"] == "a.nii":
            raise VolumeError("'a.nii': no")
        return item["image"]

    volumes = SoundVolumes([{"image": f"{name}.nii"} for name in "abc"], some)
    volumes.begin()
    for _ in range(2):
        assert list(volumes) == ["b.nii", "c.nii"]
        assert volumes.left_out == ["'a.nii': no"]


def test_names_of_predictions(tmp_path):
    assert [prediction_name(tmp_path / name) for name in ("a.nii", "b.nii.gz", "c.v1.nii.gz")] == [
        "a_seg.nii.gz",
        "b_seg.nii.gz",
        "c.v1_seg.nii.gz",
    ]


@pytest.mark.parametrize(("values", "kind"), [((0, 1, 4), np.uint8), ((0, 7, 300), np.uint16), ((0, 65535), np.uint16)])
def test_predictions_have_the_declared_values(tmp_path, values, kind):
    save(tmp_path / "in/a.nii.gz")
    assert segment(tmp_path / "in", tmp_path / "out", values=values) is None
    found = nib.load(tmp_path / "out/a_seg.nii.gz")
    assert found.get_data_dtype() == kind
    assert np.unique(np.asarray(found.dataobj)).tolist() == [values[-1]]

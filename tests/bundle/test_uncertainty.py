# SPDX-License-Identifier: Apache-2.0
"""Maps and figures of the uncertainty, by an exported inference configuration on small volumes."""

import csv
import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ronas.bundle import PredictionFiles, list_volumes
from monai_ronas.bundle.configs import Derived
from monai_ronas.bundle.inference_config import inference_config
from monai_ronas.bundle.uncertainty import to_probabilities_, uncertainty_in_words
from monai_ronas.space import RonasSpace
from monai_ronas.utils import Reliability, SearchResult, TemperatureFit
from tests.bundle.small_volumes import FINGERPRINT, SHAPE, save, volume
from tests.bundle.two_members import LABELS, NETWORK, segment, weights
from tests.volume_files import OBLIQUE, orthogonal, write


def read(path):
    return np.asanyarray(nib.load(path).dataobj)


def names_in(folder):
    """Its files and those below it, but for the hidden one by which runs at the same time wait for each other."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files & {".uncertainty.csv.lock"} == {path for path in files if path.startswith(".")}
    return sorted(files - {".uncertainty.csv.lock"})


def test_nothing_changes_unless_it_is_asked_for(bundle, tmp_path):
    save(tmp_path / "in/a.nii.gz")
    assert segment(bundle, tmp_path / "in", tmp_path / "with") is None
    (bundle / "models" / "members.pth").unlink()
    assert segment(bundle, tmp_path / "in", tmp_path / "without", temperature=3.0) is None
    assert [path.name for path in (tmp_path / "with").iterdir()] == ["a_seg.nii.gz"]
    assert np.array_equal(read(tmp_path / "with/a_seg.nii.gz"), read(tmp_path / "without/a_seg.nii.gz"))


def test_maps_and_a_line_for_each_case(bundle, tmp_path):
    affine = orthogonal(OBLIQUE)
    save(tmp_path / "in/a.nii.gz", volume(1), affine)
    write(tmp_path / "in/deep/b.mha", volume(2), affine)
    assert segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty="true") is None
    kinds = ("seg", "entropy", "mutual_information")
    files = {f"{name}_{kind}{end}" for name, end in (("a", ".nii.gz"), ("deep/b", ".mha")) for kind in kinds}
    assert names_in(tmp_path / "out") == sorted({"uncertainty.csv", *files})
    seg, unsure, spread = (nib.load(tmp_path / f"out/a_{kind}.nii.gz") for kind in kinds)
    assert seg.shape == unsure.shape == spread.shape == SHAPE
    np.testing.assert_allclose(unsure.affine, affine, atol=1e-4)
    assert 0 < np.asarray(unsure.dataobj).max() <= np.log(3) + 1e-6
    assert 1e-4 < np.asarray(spread.dataobj).max() < np.asarray(unsure.dataobj).max()
    with (tmp_path / "out/uncertainty.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["a", "deep/b"]
    ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    values = np.asanyarray(seg.dataobj)
    for value, name in list(LABELS.items())[1:]:
        size = float(rows[0][f"{name} ml"])
        assert size == pytest.approx(ml * (values == value).sum(), rel=1e-3)
        assert float(rows[0][f"{name} ml from"]) <= size <= float(rows[0][f"{name} ml to"])
    assert float(rows[0]["mean_entropy"]) == pytest.approx(np.asarray(unsure.dataobj)[values > 0].mean(), abs=1e-3)
    assert 0 < float(rows[0]["predicted_dice"]) < 1


def test_a_temperature_changes_the_map_and_not_the_segmentation(bundle, tmp_path):
    save(tmp_path / "in/a.nii.gz")
    for temperature in (1.0, 3.0):
        out = tmp_path / f"{temperature}"
        assert segment(bundle, tmp_path / "in", out, uncertainty=True, temperature=temperature) is None
    first, second = tmp_path / "1.0", tmp_path / "3.0"
    assert np.array_equal(read(first / "a_seg.nii.gz"), read(second / "a_seg.nii.gz"))
    assert np.array_equal(read(first / "a_mutual_information.nii.gz"), read(second / "a_mutual_information.nii.gz"))
    assert (read(second / "a_entropy.nii.gz") > read(first / "a_entropy.nii.gz")).mean() > 0.9


def test_the_next_run_does_not_take_the_maps_for_volumes(bundle, tmp_path):
    save(tmp_path / "a.nii.gz")
    assert segment(bundle, tmp_path, tmp_path, uncertainty=True) is None
    files = PredictionFiles(tmp_path, tmp_path)
    assert [Path(path).name for path in list_volumes(tmp_path, files)] == ["a.nii.gz"]


def test_maps_have_the_format_of_the_prediction_but_no_dicom_seg(tmp_path):
    def name(volume, *given):
        return PredictionFiles(tmp_path, tmp_path / "out", *given).map_path(tmp_path / volume, "entropy").name

    assert name("a.nii") == "a_entropy.nii.gz"
    assert name("a.mha") == "a_entropy.mha"
    assert name("a.mha", ".nrrd") == "a_entropy.nrrd"
    pytest.importorskip("highdicom", reason="needs highdicom: pip install monai-ronas[dicom]")
    assert name("a", ".dcm", object()) == "a_entropy.nii.gz"


@pytest.mark.parametrize("lost", ["members", "model"])
def test_without_members_of_these_weights_the_network_is_asked_alone(bundle, tmp_path, caplog, lost):
    save(tmp_path / "in/a.nii.gz")
    if lost == "members":
        (bundle / "models" / "members.pth").unlink()
        said = "no models/members.pth: the uncertainty is that of the single network over its flips"
    else:
        torch.save(weights(4), bundle / "models" / "model.pt")
        said = "models/members.pth belongs to another models/model.pt, such as that before a training: it is left out"
    with caplog.at_level(logging.WARNING):
        assert segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True) is None
    assert said in caplog.text
    assert segment(bundle, tmp_path / "in", tmp_path / "plain") is None
    assert np.array_equal(read(tmp_path / "out/a_seg.nii.gz"), read(tmp_path / "plain/a_seg.nii.gz"))
    assert read(tmp_path / "out/a_mutual_information.nii.gz").max() > 0  # of the two flips


def test_one_run_has_no_mutual_information(bundle, tmp_path):
    (bundle / "models" / "members.pth").unlink()
    save(tmp_path / "in/a.nii.gz")
    assert segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True, **{"inferer#flips": []}) is None
    assert names_in(tmp_path / "out") == ["a_entropy.nii.gz", "a_seg.nii.gz", "uncertainty.csv"]


def test_maps_of_an_earlier_run_do_not_stay_beside_another_segmentation(bundle, tmp_path, caplog):
    out = tmp_path / "out"
    save(tmp_path / "in/a.nii.gz")
    alone = {"inferer#flips": [], "uncertainty": True}
    assert segment(bundle, tmp_path / "in", out, uncertainty=True) is None
    (bundle / "models" / "members.pth").unlink()
    assert segment(bundle, tmp_path / "in", out, **alone) is None
    assert names_in(out) == ["a_entropy.nii.gz", "a_seg.nii.gz", "uncertainty.csv"]
    assert "of an earlier run" not in caplog.text
    assert segment(bundle, tmp_path / "in", out) is None
    assert f"'{out / 'uncertainty.csv'}' and the maps beside it are of an earlier run" in caplog.text
    assert "'a'" in segment(bundle, tmp_path / "in", out, **alone, **{"inferer#result_gb": 1e-9})
    assert names_in(out) == ["a_seg.nii.gz", "uncertainty.csv"]


def test_probabilities_take_the_place_of_logits():
    logits = torch.randn(3, 37, 4, 2)
    expected, place = logits.softmax(dim=0), logits.data_ptr()
    found = to_probabilities_(logits)
    torch.testing.assert_close(found, expected)
    assert found.data_ptr() == place


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uncertainty": "perhaps"}, "uncertainty must be true or false, received 'perhaps'."),
        ({"uncertainty": True, "temperature": 0}, "temperature must be a positive number, received 0."),
        ({"uncertainty": True, "temperature": "warm"}, "temperature must be a positive number, received 'warm'."),
    ],
)
def test_what_is_out_of_place_is_refused(bundle, tmp_path, changes, said):
    save(tmp_path / "in/a.nii.gz")
    temperature = changes.pop("temperature", 1.0)
    assert segment(bundle, tmp_path / "in", tmp_path / "out", **changes, **{"unsure#temperature": temperature}) == said


@pytest.mark.parametrize("uncertainty", [True, False])
def test_a_missing_model_is_told(bundle, tmp_path, uncertainty):
    save(tmp_path / "in/a.nii.gz")
    file = bundle / "models" / "model.pt"
    file.unlink()
    told = segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=uncertainty)
    assert told == (
        f"there is no '{file}', the weights of the bundle: give the bundle's folder with --bundle_root, or restore the "
        "file."
    )
    assert not (tmp_path / "out").exists()


def test_several_volumes_at_once_are_refused(bundle, tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"in/{name}.nii.gz")
    two = {"dataloader#batch_size": 2}
    told = segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True, **two)
    assert told == "dataloader#batch_size must be 1 for the uncertainty, received 2."
    assert segment(bundle, tmp_path / "in", tmp_path / "out", **two) is None


def test_a_case_that_the_memory_is_too_small_for_has_a_segmentation_and_is_named(bundle, tmp_path):
    save(tmp_path / "in/a.nii.gz")
    small = {"inferer#result_gb": 1e-9}
    told = segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True, **small)
    assert told == (
        "the memory does not suffice for the uncertainty of 1 case(s), which have a segmentation only: 'a'."
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]
    (tmp_path / "in/b.nii.gz").write_bytes(b"nothing")
    told = segment(bundle, tmp_path / "in", tmp_path / "out", uncertainty=True, **small)
    assert (
        "which have a segmentation only: 'a'; 1 other volume(s) could not be segmented: 'b.nii.gz': the image" in told
    )


def test_words_of_the_readme():
    base = RonasSpace((32, 32, 32)).base
    plain = uncertainty_in_words(SearchResult(base, None))
    assert "asks the network alone" in plain
    assert "No temperature was fitted" in plain
    members = tuple({"w": torch.zeros(1000, 500, dtype=torch.float16)} for _ in range(3))
    one = uncertainty_in_words(SearchResult(base, None, members=members[:1]))
    assert "the network and 1 state of its weights" in one
    for seen in (True, False):
        fit = TemperatureFit(1.25, 8, 0.05, 0.01, seen=seen)
        words = uncertainty_in_words(SearchResult(base, None, members=members, temperature=fit))
        assert "the network and 3 states of its weights" in words
        assert "(`models/members.pth`, 3.0 MB, half precision)" in words
        assert "The temperature is 1.25, fitted on 8 reward cases" in words
        assert ("which the final training has seen" in words) == seen
        assert "0.0500 without and 0.0100 with it" in words
        assert "test cases" not in words
    words = uncertainty_in_words(SearchResult(base, None, temperature=TemperatureFit(1.0, 8, 0.02, 0.02, seen=True)))
    assert "There is no temperature: on 8 reward cases, which the final training has seen, one below 1" in words
    assert "with it" not in words
    found = tuple(Reliability((10,), (sure,), (0.75,), 0.5) for sure in (0.9, 0.8))
    words = uncertainty_in_words(SearchResult(base, None, temperature=fit, reliability=found))
    assert "That of the test cases, which nothing has seen, is 0.1500 and 0.0500 (network alone)." in words


def test_the_configuration_says_what_is_asked():
    facts = {"batch_size": 1, "amp": False, "flip_axes": (), "test_time_flips": False}
    config = inference_config(Derived(NETWORK, (2, 2, 2), (4, 4, 4), 10**6, FINGERPRINT, **facts, temperature=1.23456))
    assert (config["uncertainty"], config["temperature"]) == (False, 1.2346)
    assert json.loads(json.dumps(config["unsure"]["labels"])) == {"0": "background", "1": "organ"}

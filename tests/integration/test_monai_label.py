# SPDX-License-Identifier: Apache-2.0
"""A real MONAI Label server opens the derived bundle: information, inference, active learning, training.

Once with the phantom, which is always there, and once with real volumes.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from scipy.spatial.transform import Rotation

from monai_ronas.bundle import foreground_entropy
from monai_ronas.data.reading import read_volume
from tests.volume_files import write

from .conftest import run_bundle
from .label_server import LabelServer

SLICER = Path(__file__).parent / "slicer_client.py"

FLOOR = 0.4  # mean Dice; untrained weights stay below 0.1
REQUEST = {"device": "cpu", "val_split": 0.25, "multi_gpu": False, "pretrained": True, "tracking": "None"}


class Source(NamedTuple):
    """Fixtures of a search and its data, and the labels."""

    search: str
    data: str
    labels: dict[str, int]


SOURCES = (
    Source("finished", "small_phantom", {"organ": 1, "lesion": 2, "vessel": 3}),
    Source("searched", "real_data", {"anterior": 1, "posterior": 2}),
)


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source.data)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def searched_and_data(source, request):
    """Folder of the search, and of its data."""
    return request.getfixturevalue(source.search), request.getfixturevalue(source.data)


@pytest.fixture(scope="module")
def studies(searched_and_data, tmp_path_factory):
    """The studies' folder with at most forty labelled training cases; the truths and names of those without a label.

    These are two test cases as they are and one of them turned and resliced. A fourth, not among the names, is a NRRD:
    one of them put down obliquely. It lies beside the truths as a DICOM series, too.
    """
    searched, data = searched_and_data
    split = json.loads((searched / "dataset_report.json").read_text())["split"]
    folder, truths = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("truths")
    (folder / "labels" / "final").mkdir(parents=True)
    for names, labels in ((split["train"][:40], folder / "labels" / "final"), (split["test"][:2], truths)):
        for name in names:
            shutil.copy(data / "imagesTr" / f"{name}.nii.gz", folder)
            shutil.copy(data / "labelsTr" / f"{name}.nii.gz", labels)
    for place in (folder, truths):
        nib.save(_turned(nib.load(place / f"{split['test'][0]}.nii.gz")), place / "turned.nii.gz")
    image, truth = (nib.load(place / f"{split['test'][1]}.nii.gz") for place in (folder, truths))
    voxels = np.asanyarray(image.dataobj)
    whole = np.rint(voxels * (1000.0 / np.abs(voxels).max())).astype(np.int16)
    oblique = np.eye(4)
    oblique[:3, :3] = Rotation.from_euler("xyz", (20, -15, 30), degrees=True).as_matrix()
    affine = (oblique @ image.affine).astype(np.float32).astype(np.float64)
    for path, values in (
        (folder / "oblique.nrrd", whole),
        (truths / "series", whole),
        (truths / "oblique.nii.gz", np.asanyarray(truth.dataobj).astype(np.uint8)),
    ):
        write(path, values, affine)
    return folder, truths, (*split["test"][:2], "turned")


def _turned(volume):
    """Every second slice of the last axis, the axes in another order and direction: neither RAS nor isotropic."""
    thick = nib.Nifti1Image(np.asanyarray(volume.dataobj)[..., ::2], volume.affine @ np.diag([1, 1, 2, 1]))
    return thick.as_reoriented(nib.orientations.axcodes2ornt("PIL"))


@pytest.fixture(scope="module")
def server(label_python, studies, searched_and_data, tmp_path_factory):
    """The server, with a copy of the bundle under another name."""
    bundle = searched_and_data[0] / "ronas_segmentation"
    with LabelServer(label_python, tmp_path_factory.mktemp("server"), studies[0], bundle, "renamed") as running:
        yield running


@pytest.fixture(autouse=True)
def _log(server):
    """What the server has said, shown where a test fails."""
    yield
    print(server.log()[-8000:])


@pytest.fixture(scope="module")
def dice(source, studies):
    """Measure a prediction by a study's name and its path: the mean Dice, after a check of the geometry and values."""

    def measure(name, path):
        (found, affine), (true, place) = (read_volume([p]) for p in (path, studies[1] / f"{name}.nii.gz"))
        assert found.shape == true.shape
        np.testing.assert_allclose(affine, place, atol=1e-4)
        assert set(np.unique(found)) <= {0, *source.labels.values()}
        values = [v for v in source.labels.values() if (true == v).any()]
        return float(
            np.mean(
                [2 * ((found == v) & (true == v)).sum() / sum((x == v).sum() for x in (found, true)) for v in values]
            )
        )

    return measure


@pytest.fixture(scope="module")
def scores(studies, dice):
    """Measure predictions by their paths: the mean Dice of each."""
    return lambda path_of: {name: dice(name, path_of(name)) for name in studies[2]}


@pytest.fixture(scope="module")
def before(server, scores, tmp_path_factory):
    """Dice of the server's predictions before any training there."""
    out = tmp_path_factory.mktemp("before")
    return scores(lambda name: server.infer(name, out / f"{name}.nii.gz"))


@pytest.fixture(scope="module")
def own(server, studies, tmp_path_factory):
    """Folder of the predictions by ``inference.json``."""
    folder, truths, names = studies
    volumes, out = tmp_path_factory.mktemp("volumes"), tmp_path_factory.mktemp("own")
    for name in (*(f"{name}.nii.gz" for name in names), "oblique.nrrd"):
        shutil.copy(folder / name, volumes)
    shutil.copytree(truths / "series", volumes / "series")
    config = str(server.bundle / "configs" / "inference.json")
    done = run_bundle(
        *("run", "--config_file", config, "--bundle_root", str(server.bundle), "--device", "cpu"),
        *("--dataset_dir", str(volumes), "--output_dir", str(out)),
    )
    assert done.returncode == 0, done.stderr
    return out


def weights(server):
    return torch.load(server.bundle / "models" / "model.pt", weights_only=True)


def uncertainty(bundle, path):
    """The score of a volume, by the bundle's configuration alone."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.update({"bundle_root": str(bundle), "device": "$torch.device('cpu')"})
    network = parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    image = parser.get_parsed_content("preprocessing")({"image": str(path)})["image"]
    with torch.no_grad():
        return foreground_entropy(parser.get_parsed_content("inferer")(image[None], network)[0])


def validations(server, start):
    """Scores of the validations that the server has logged since the log had that length."""
    return [float(s) for s in re.findall(r"Metrics -- val_mean_dice: ([0-9.]+)", server.log()[start:])]


def test_the_server_knows_the_labels_and_the_trainer(server, source):
    info = server.info()
    assert info["models"]["renamed"]["labels"] == source.labels
    assert info["models"]["renamed"]["dimension"] == 3
    assert "renamed" in info["trainers"]


def test_inference_is_that_of_the_bundle(before, scores, own):
    """As good as ``inference.json``, on a turned and anisotropic volume as well."""
    expected = scores(lambda name: own / f"{name}_seg.nii.gz")
    print("Dice by the server", before, "by inference.json", expected)
    assert before == pytest.approx(expected, abs=0.002)
    assert min(before.values()) > FLOOR


def test_inference_of_nrrd_and_dicom_is_that_of_the_bundle(server, dice, own, studies, tmp_path):
    """An NRRD among the studies, a DICOM series converted by the server, and one that is read as it is, by its path."""
    series = studies[1] / "series"
    server.upload(server.convert(series), "converted")
    asked = {"NRRD": "oblique", "converted": "converted", "DICOM": str(series)}
    found = {kind: dice("oblique", server.infer(image, tmp_path / f"{kind}.nii.gz")) for kind, image in asked.items()}
    by_bundle = {
        kind: dice("oblique", own / f"{name}")
        for kind, name in (("NRRD", "oblique_seg.nrrd"), ("DICOM", "series_seg.nii.gz"))
    }
    print("Dice by the server", found, "by inference.json", by_bundle)
    assert found == pytest.approx({**by_bundle, "converted": by_bundle["DICOM"]}, abs=0.002)
    assert min(found.values()) > FLOOR


def test_batch_inference_labels_what_has_no_label(server, before, scores, tmp_path):
    server.infer_unlabelled()
    assert scores(lambda name: server.label(name, tmp_path / f"{name}.nii.gz")) == pytest.approx(before, abs=0.002)


def test_the_study_of_which_the_bundle_is_least_sure_comes_first(server, studies):
    """Its scores are those of the bundle's network and inferer, and are made once for the same weights."""
    key, info = "renamed_uncertainty", server.info()
    assert key in info["strategies"]
    assert key in info["scoring"]
    unlabelled = {name for name, study in server.studies().items() if "final" not in study["labels"]}
    assert unlabelled >= {*studies[2], "oblique"}
    assert server.score() == {"scored": len(unlabelled), "skipped": 0, "failed": 0}
    assert server.score() == {"scored": 0, "skipped": len(unlabelled), "failed": 0}
    found = {name: server.studies()[name]["image"]["info"][key] for name in unlabelled}
    print("scores", found)
    assert found["turned"] == pytest.approx(uncertainty(server.bundle, studies[0] / "turned.nii.gz"), abs=1e-4)
    assert [found[server.next_study()] for _ in found] == sorted(found.values(), reverse=True)


def test_slicer_gets_the_labels_and_sends_a_label_back(server, source, studies, dice, tmp_path):
    """What 3D Slicer's module asks for, by the client that it uses: a study, its segmentation, a label saved."""
    study, path = studies[2][0], tmp_path / "by_slicer.nrrd"
    words = server.run_python(str(SLICER), server.url, "renamed", study, str(path)).splitlines()
    told = json.loads(words[-1])
    assert not told["config"]  # the module refuses servers that have one
    assert told["model"] == {"type": "segmentation", "labels": source.labels}
    assert told["labels"] == told["segments"] == sorted(source.labels, key=source.labels.get)
    assert told["colours"] == {name: [221, 130, 101] for name in source.labels if name == "organ"}
    assert told["offered"] in server.studies()
    assert sitk.ReadImage(str(path)).GetPixelIDTypeAsString() == "8-bit unsigned integer"
    assert dice(study, path) > FLOOR
    final = server.studies()[study]["labels"]["final"]["info"]
    assert final["label_info"] == [{"name": name, "idx": n + 1} for n, name in enumerate(told["segments"])]
    server.delete_label(study)


def test_training_does_not_take_worse_weights(server, before, scores, tmp_path):
    """With a learning rate that ruins the network the bundle's weights stay, and the server goes on with them."""
    config, old, start = server.bundle / "configs" / "train.json", weights(server), len(server.log())
    text = config.read_text()
    config.write_text(json.dumps({**json.loads(text), "learning_rate": 10.0}))
    try:
        assert server.train(max_epochs=1, **REQUEST) == "DONE"
    finally:
        config.write_text(text)
    first, last = validations(server, start)
    assert last < first
    assert all(torch.equal(weights(server)[key], value) for key, value in old.items())
    assert scores(lambda name: server.infer(name, tmp_path / f"{name}.nii.gz")) == before


def test_training_mends_damaged_weights_and_the_server_uses_them(server, scores, tmp_path):
    """The weights get a noise of 0.3 of their size first: what has been trained to its end need not get better."""
    noise = torch.Generator().manual_seed(0)
    damaged = {k: v * (1 + 0.3 * torch.randn(v.shape, generator=noise)) for k, v in weights(server).items()}
    torch.save(damaged, server.bundle / "models" / "model.pt")
    before = scores(lambda name: server.infer(name, tmp_path / f"{name}.nii.gz"))
    start = len(server.log())
    assert server.train(max_epochs=6, **REQUEST) == "DONE"
    first, *others = validations(server, start)
    after = scores(lambda name: server.infer(name, tmp_path / f"{name}.nii.gz"))
    print(f"Dice on the validation cases {first}, then {others}; on the others {before} -> {after}")
    assert len(others) == 6
    assert max(others) > first
    assert np.mean(list(after.values())) > np.mean(list(before.values()))
    assert weights(server).keys() == damaged.keys()


def test_training_on_one_label_is_judged_by_it(server, studies):
    """The server then gives no validation cases. This test goes last, for it deletes the other labels."""
    _, *others = sorted(path.name for path in (studies[0] / "labels" / "final").iterdir())
    for name in others:
        server.delete_label(name.removesuffix(".nii.gz"))
    start = len(server.log())
    assert server.train(max_epochs=2, **REQUEST) == "DONE"
    assert "Total Records for Training: 1\n" in server.log()[start:]
    assert len(validations(server, start)) == 3

# SPDX-License-Identifier: Apache-2.0
"""A real MONAI Label server opens the derived bundle: information, inference, training, batch inference.

Once with the phantom, which is always there, and once with real volumes.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import torch

from .conftest import run_bundle
from .label_server import LabelServer

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

    These are two test cases as they are and one of them turned and resliced.
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
def scores(source, studies):
    """Measure predictions by their paths: the mean Dice of each, after a check of the geometry and of the values."""
    folder, truths, names = studies

    def dice(name, path):
        image, prediction = nib.load(folder / f"{name}.nii.gz"), nib.load(path)
        assert prediction.shape == image.shape
        np.testing.assert_allclose(prediction.affine, image.affine, atol=1e-4)
        found, true = (np.asanyarray(v.dataobj) for v in (prediction, nib.load(truths / f"{name}.nii.gz")))
        assert set(np.unique(found)) <= {0, *source.labels.values()}
        values = [v for v in source.labels.values() if (true == v).any()]
        return np.mean(
            [2 * ((found == v) & (true == v)).sum() / sum((x == v).sum() for x in (found, true)) for v in values]
        )

    return lambda path_of: {name: float(dice(name, path_of(name))) for name in names}


@pytest.fixture(scope="module")
def before(server, scores, tmp_path_factory):
    """Dice of the server's predictions before any training there."""
    out = tmp_path_factory.mktemp("before")
    return scores(lambda name: server.infer(name, out / f"{name}.nii.gz"))


def weights(server):
    return torch.load(server.bundle / "models" / "model.pt", weights_only=True)


def validations(server, start):
    """Scores of the validations that the server has logged since the log had that length."""
    return [float(s) for s in re.findall(r"Metrics -- val_mean_dice: ([0-9.]+)", server.log()[start:])]


def test_the_server_knows_the_labels_and_the_trainer(server, source):
    info = server.info()
    assert info["models"]["renamed"]["labels"] == source.labels
    assert info["models"]["renamed"]["dimension"] == 3
    assert "renamed" in info["trainers"]


def test_inference_is_that_of_the_bundle(server, before, scores, studies, tmp_path):
    """As good as ``inference.json``, on a turned and anisotropic volume as well."""
    folder, _, names = studies
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in names:
        shutil.copy(folder / f"{name}.nii.gz", volumes)
    config = str(server.bundle / "configs" / "inference.json")
    done = run_bundle(
        *("run", "--config_file", config, "--bundle_root", str(server.bundle), "--device", "cpu"),
        *("--dataset_dir", str(volumes), "--output_dir", str(tmp_path / "out")),
    )
    assert done.returncode == 0, done.stderr
    own = scores(lambda name: tmp_path / "out" / f"{name}_seg.nii.gz")
    print("Dice by the server", before, "by inference.json", own)
    assert before == pytest.approx(own, abs=0.002)
    assert min(before.values()) > FLOOR


def test_batch_inference_labels_what_has_no_label(server, before, scores, tmp_path):
    server.infer_unlabelled()
    assert scores(lambda name: server.label(name, tmp_path / f"{name}.nii.gz")) == pytest.approx(before, abs=0.002)


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

# SPDX-License-Identifier: Apache-2.0
"""The weights of a bundle that is trained on: one file, old or new, and TorchScript that follows it."""

import json
import os

import pytest
import torch
from ignite.engine import Engine

from monai_ronas.bundle import BestWeights, renew_torchscript
from monai_ronas.bundle.torchscript import read_torchscript, write_torchscript
from monai_ronas.networks.nets import RonasUNet
from tests.bundle.two_members import NETWORK, weights


def make_network(seed):
    network = RonasUNet(**NETWORK)
    network.load_state_dict(weights(seed))
    return network


def make_evaluator(network, path, scores):
    """Each epoch of it has the next score."""
    given = iter(scores)

    def score(engine, batch):
        engine.state.key_metric_name = "val_mean_dice"
        engine.state.metrics["val_mean_dice"] = next(given)

    engine = Engine(score)
    BestWeights(network, path).attach(engine)
    return engine


def have(path, seed):
    found = torch.load(path, weights_only=True)
    return found.keys() == weights(seed).keys() and all(torch.equal(found[k], w) for k, w in weights(seed).items())


@pytest.mark.parametrize("wrapped", [False, True])
def test_better_weights_alone_take_the_place_of_the_file(bundle, wrapped):
    path, network = bundle / "models" / "model.pt", make_network(0)
    before = path.read_bytes()
    given = torch.nn.DataParallel(network) if wrapped else network
    evaluator = make_evaluator(given, path, [0.5, 0.4, 0.5, float("nan"), 0.6, 0.55])
    evaluator.run([0])
    assert path.read_bytes() == before  # these are the weights that it has
    for seed in (1, 2, 3):
        network.load_state_dict(weights(seed))
        evaluator.run([0])
        assert path.read_bytes() == before
    network.load_state_dict(weights(4))
    evaluator.run([0])
    assert have(path, 4)
    network.load_state_dict(weights(5))
    evaluator.run([0])
    assert have(path, 4)


def test_without_a_file_the_first_weights_are_written(tmp_path):
    path = tmp_path / "models" / "model.pt"
    make_evaluator(make_network(0), path, [0.0]).run([0])
    assert have(path, 0)


def test_a_disk_without_room_leaves_the_old_weights(bundle, monkeypatch):
    path = bundle / "models" / "model.pt"
    before = sorted(file.name for file in path.parent.iterdir())

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        make_evaluator(make_network(1), path, [0.5]).run([0])
    assert have(path, 0)
    assert sorted(file.name for file in path.parent.iterdir()) == before


def test_torchscript_follows_the_weights(bundle):
    script, metadata = bundle / "models" / "model.ts", {"version": "0.1.0"}
    (bundle / "configs").mkdir()
    for name, content in (("metadata", metadata), ("inference", {"amp": False})):
        (bundle / "configs" / f"{name}.json").write_text(json.dumps(content))
    renew_torchscript(bundle, make_network(7))
    assert not script.exists()  # there was none
    write_torchscript(script, make_network(0).eval(), metadata=metadata, inference={"amp": False})
    before = script.read_bytes()
    renew_torchscript(bundle, make_network(7))
    assert script.read_bytes() == before
    torch.save(weights(1), bundle / "models" / "model.pt")
    network = make_network(7).train()
    renew_torchscript(bundle, network)
    assert network.training
    assert all(torch.equal(read_torchscript(script)[name], weight) for name, weight in weights(1).items())
    image = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        expected = make_network(1).eval()(image)
        assert torch.allclose(torch.jit.load(script).eval()(image), expected, atol=1e-5)

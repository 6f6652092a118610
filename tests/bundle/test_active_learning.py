# SPDX-License-Identifier: Apache-2.0
"""The scores, with a server's parts made up; ``tests/integration/test_monai_label.py`` has the real server."""

import logging
import math
import os
import sys
import types

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_ronas.bundle import UncertaintyScoring, add_uncertainty, foreground_entropy
from monai_ronas.data import VolumeError

KEY = "organs_uncertainty"
LOGITS = {"sure": [0.0, 9.0, 0.0], "unsure": [0.0, 1.0, 0.5], "nothing": [9.0, 0.0, 0.0]}


def volume(values):
    """Logits ``(C, 4, 3, 2)``: background, a plane with these values, and one where the two classes swap theirs."""
    logits = torch.tensor([5.0, 0.0, 0.0]).reshape(3, 1, 1, 1).repeat(1, 4, 3, 2)
    logits[:, 1] = torch.tensor(values).reshape(3, 1, 1)
    logits[:, 2] = logits[[0, 2, 1], 1]
    return MetaTensor(logits)


class Task:
    """An inference task as MONAI Label has it."""

    output_label_key = "pred"

    def __init__(self, weights, target="monai_ronas.networks.PadToStrideInferer"):
        self.weights = weights
        self.bundle_config = {"inferer": {"_target_": target}}
        self.ran = []

    def config(self):
        return {"device": ["cpu"], "model_filename": ["model.pt"]}

    def get_path(self):
        return self.weights

    def pre_transforms(self, data):
        assert data["model_filename"] == ["model.pt"]
        return [lambda item: item]

    def run_pre_transforms(self, data, transforms):
        if data["image"] == "broken":
            raise VolumeError("'broken.nii.gz': it holds no voxels")
        if data["image"] == "huge":
            raise MemoryError("Unable to allocate 1.8 PiB")
        return transforms[0](data)

    def run_inferer(self, data, device):
        assert data["device"] == device == "cpu"
        self.ran.append(data["image_path"])
        return {**data, "pred": volume(LOGITS[data["image"]])}


class Store:
    """A datastore as MONAI Label has it."""

    def __init__(self, *studies):
        self.kept = {study: {} for study in studies}

    def get_unlabeled_images(self):
        return list(self.kept)

    def get_image_uri(self, study):
        return study

    def get_image_info(self, study):
        return dict(self.kept[study])

    def update_image_info(self, study, info):
        self.kept[study].update(info)


@pytest.fixture
def task(tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"first")
    return Task(weights)


def entropy(values):
    p = np.exp(values) / np.exp(values).sum()
    return -(p * np.log(p)).sum() / math.log(3)


def test_only_the_foreground_counts():
    assert foreground_entropy(volume(LOGITS["unsure"])) == pytest.approx(entropy(LOGITS["unsure"]))
    assert foreground_entropy(volume(LOGITS["sure"])) < 0.01


def test_classes_that_are_out_of_the_question_count_nothing():
    """Flips are averaged as probabilities, whose logarithm is minus infinity where a class has none."""
    assert foreground_entropy(volume([-math.inf, 0.2, 0.0])) == pytest.approx(entropy([0.2, 0.0]))


def test_a_class_that_is_not_found_is_the_least_sure():
    logits = volume(LOGITS["unsure"])
    logits[:, 2] = logits[:, 1]
    assert foreground_entropy(logits) == pytest.approx((entropy(LOGITS["unsure"]) + 1) / 2)
    assert foreground_entropy(volume(LOGITS["nothing"])) == 1.0


def test_class_indices_tell_no_probabilities():
    with pytest.raises(ValueError, match="so large that only class indices fit"):
        foreground_entropy(torch.zeros(1, 4, 3, 2))


def test_studies_are_scored_once_for_the_same_weights(task):
    store, scoring = Store("sure", "unsure"), UncertaintyScoring(task, key=KEY)
    assert scoring({}, store) == {"scored": 2, "skipped": 0, "failed": 0}
    assert store.kept["sure"][KEY] == foreground_entropy(volume(LOGITS["sure"]))
    assert store.kept["unsure"][KEY] > store.kept["sure"][KEY]
    store.kept["nothing"] = {}
    assert scoring({"device": "cpu"}, store) == {"scored": 1, "skipped": 2, "failed": 0}
    assert task.ran == ["sure", "unsure", "nothing"]
    os.utime(task.weights, (1, 1))
    assert scoring({}, store) == {"scored": 3, "skipped": 0, "failed": 0}


def test_a_broken_study_is_named_and_the_others_are_scored(task, caplog):
    store = Store("broken", "huge", "sure")
    with caplog.at_level(logging.WARNING, "monai_ronas"):
        assert UncertaintyScoring(task, key=KEY)({}, store) == {"scored": 1, "skipped": 0, "failed": 2}
    assert "the study 'huge' has no score: Unable to allocate 1.8 PiB" in caplog.text
    assert "the study 'broken' has no score: 'broken.nii.gz': it holds no voxels" in caplog.text
    assert store.kept["broken"] == {}


def test_an_app_gets_a_strategy_and_a_score_for_each_bundle_of_ours(task, monkeypatch):
    class Epistemic:
        def __init__(self, key, desc):
            self.key, self.description = key, desc

    class App:
        def __init__(self):
            self._infers = {"organs": task, "other": Task(None, "SlidingWindowInferer"), "scribbles": object()}
            self._infers["expression"] = Task(None)
            self._infers["expression"].bundle_config = {"inferer": "$@evaluator.inferer"}

        def init_strategies(self):
            return {"random": None}

        def init_scoring_methods(self):
            return {"dice": None}

    module = types.ModuleType("monailabel.tasks.activelearning.epistemic")
    module.Epistemic = Epistemic
    for name in ("monailabel", "monailabel.tasks", "monailabel.tasks.activelearning"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for _ in range(2):  # a line that stands twice in main.py
        add_uncertainty(App)
    app = App()
    strategies, methods = app.init_strategies(), app.init_scoring_methods()
    assert set(strategies) == {"random", KEY}
    assert set(methods) == {"dice", KEY}
    assert strategies[KEY].key == methods[KEY].key == KEY
    assert strategies[KEY].description == "The study of which organs is least sure"
    assert methods[KEY].task is task

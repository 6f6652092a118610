# SPDX-License-Identifier: Apache-2.0
"""A finished search in numbers, small enough to be written by hand."""

from dataclasses import replace

import numpy as np

from monai_ronas.data import Split, Study
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace, make_plan
from monai_ronas.utils import ChildScore, Plane, SearchResult
from tests.toys import toy_fingerprint

NAN = float("nan")
SPACE = RonasSpace((32, 40, 32))
HISTORY = [
    {"episode": 1, "child": 1, "id": "a", "architecture": {}, "reward": 0.5, "seconds": 1.0, "memory_mb": 100.0},
    {"episode": 1, "child": 2, "id": "b", "architecture": {}, "reward": None, "seconds": 1.0, "memory_mb": 100.0},
    {"episode": 2, "child": 1, "id": "c", "architecture": {}, "reward": 0.7, "seconds": 2.0, "memory_mb": 120.0},
]
TRACE = [
    {
        "episode": n,
        "reward": 0.5,
        "entropy": 0.6,
        "probabilities": {d.name: [1 / len(d)] * len(d) for d in SPACE.decisions},
    }
    for n in (1, 2)
]
SPENT = {"start and checks": 4.0, "race": 30.0, "final training": 60.0, "export": 6.0}
TEST_CASES = ("c1", "c2", "c3", "c4")
PER_CLASS = ((0.9, 0.7), (0.5, NAN), (NAN, NAN), (0.95, 0.85))
TEST = ChildScore(0.7333, (0.8, 0.5, NAN, 0.9), seconds=1.0, peak_memory_mb=1.0, per_class=PER_CLASS)


def make_study(name="toy", labels=("background", "anterior", "posterior"), test=TEST_CASES):
    """A study of which no file exists."""
    fingerprint = replace(toy_fingerprint((32, 40, 32), (1.0, 1.0, 2.5)), name=name, labels=dict(enumerate(labels)))
    return Study(None, fingerprint, Split(train=("a",), reward=("b",), test=tuple(test)))


def make_network():
    """A supernet of :data:`SPACE`."""
    return RonasSuperNet(SPACE, 1, 3, channels=(2, 2, 2, 2))


def make_facts(**more):
    """Arguments of ``write_report`` for a search that runs."""
    plan = make_plan((32, 40, 32), (1.0, 1.0, 2.5), fits=lambda draft: True)
    facts = {"network": make_network(), "study": make_study(), "plan": plan, "trace": TRACE, "history": HISTORY}
    return {**facts, "spent": SPENT, "doing": "race", **more}


def make_candidates():
    """Two contenders, of which the second had no turn, and whose text is meant as code."""
    base = SPACE.base
    row = {"architecture": base.to_dict(), "id": base.id, "reward": 0.81234, "trained": 1234.5, "forecast": 0.95678}
    other = {**row, "id": "other", "reward": None, "trained": None, "forecast": None, "curve": []}
    return [
        {"origin": "base network", **row, "curve": [[600.0, 0.7], [1234.5, 0.81234]]},
        {"origin": "<b>random</b>", **other},
    ]


def make_result(**more):
    """What the search found, with a score of the test cases."""
    score = ChildScore(reward=0.8, per_case=(0.8,), seconds=1.0, peak_memory_mb=1.0)
    facts = {"architecture": SPACE.base, "score": score, "candidates": make_candidates(), "case_names": ("b",)}
    tested = {"test": TEST, "test_names": TEST_CASES, "test_cases": len(TEST_CASES)}
    return SearchResult(**{**facts, **tested, **more})


def make_planes(number=4):
    """Three planes of so many cases, with a voxel of each kind of difference."""
    cases = []
    for n in range(number):
        planes = []
        for axis, shape in enumerate(((40, 32), (32, 32), (32, 40))):
            image = np.full(shape, 40 * n, dtype=np.uint8)
            label, prediction = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
            label[5:20, 5:20], prediction[6:22, 5:20] = 1, 1
            label[20:25, 5:10] = prediction[22:25, 5:10] = 2
            planes.append(Plane(axis, 10 + n, shape, image, label, prediction))
        cases.append(tuple(planes))
    return cases

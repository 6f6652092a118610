# SPDX-License-Identifier: Apache-2.0
"""Arbitrary ``dataset.json`` files and NIfTI headers: a report or a sentence, never another error."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_ronas.data import DatasetError, fingerprint_dataset, open_study, read_msd, verify_dataset

from .conftest import DatasetMaker

LENIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # a busy machine is no fault
LIMITS = settings(max_examples=150, deadline=None, suppress_health_check=LENIENT)
HEADER = 352  # bytes of a single NIfTI-1 file before its voxels
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=12))
keys = st.one_of(st.text(max_size=6), st.sampled_from(["0", "1", "image", "label", "background"]))
trees = st.recursive(
    scalars, lambda t: st.one_of(st.lists(t, max_size=4), st.dictionaries(keys, t, max_size=4)), max_leaves=12
)
fields = st.sampled_from(["labels", "modality", "training", "name", "licence", "description", "channel_names"])


@LIMITS
@given(changes=st.dictionaries(fields, trees, max_size=4), strict=st.booleans())
def test_any_dataset_json_is_read_or_refused_in_a_sentence(tmp_path, changes, strict):
    maker = DatasetMaker(tmp_path)
    if not (tmp_path / "imagesTr").exists():
        maker.add("a")
    maker.content["training"] = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    maker.content.update(changes)
    try:
        dataset = read_msd(maker.write(), strict=strict)
    except DatasetError:
        return
    assert list(dataset.labels) == sorted(dataset.labels)
    assert 0 in dataset.labels
    assert dataset.ignore_label not in dataset.labels
    assert sorted(dataset.modality) == list(range(len(dataset.modality)))
    assert all(isinstance(name, str) for name in (*dataset.labels.values(), *dataset.modality.values()))
    assert dataset.cases or dataset.faults
    assert not (strict and dataset.faults)
    assert all(case.image.is_file() and tmp_path in case.image.parents for case in dataset.cases)


@LIMITS
@given(
    what=st.sampled_from(["images", "labels"]),
    changes=st.lists(st.tuples(st.integers(0, HEADER - 1), st.integers(0, 255)), min_size=1, max_size=12),
    kept=st.one_of(st.none(), st.integers(0, HEADER + 40)),
)
def test_any_header_gives_a_report(tmp_path, what, changes, kept):
    maker = DatasetMaker(tmp_path)
    maker.add("sound", suffix=".nii")
    maker.add("odd", suffix=".nii")
    path = maker.write() / f"{what}Tr" / "odd.nii"
    raw = bytearray(path.read_bytes())
    for offset, value in changes:
        raw[offset] = value
    path.write_bytes(raw[:kept])
    dataset = read_msd(tmp_path)
    report, stats = verify_dataset(dataset)
    faulty = {fault["case"] for fault in report["faults"]}
    assert {s.name for s in stats} == {"sound", "odd"} - faulty
    json.dumps(report)
    if stats:
        fingerprint = fingerprint_dataset(dataset, stats)
        assert all(math.isfinite(size) and size > 0 for size in fingerprint.target_spacing)
        assert all(size >= 1 for size in fingerprint.max_shape)


@settings(max_examples=25, deadline=None, suppress_health_check=LENIENT)
@given(fold=st.integers(-2, 7), folds=st.integers(0, 8), fraction=st.floats(), seed=st.integers(0, 2**31))
def test_any_split_is_made_or_refused(phantom, tmp_path, fold, folds, fraction, seed):
    try:
        study = open_study(phantom, tmp_path, fold=fold, num_folds=folds, reward_fraction=fraction, seed=seed)
    except DatasetError:
        return
    uses = [study.split.train, study.split.reward, study.split.test]
    assert all(uses)
    assert sorted(name for use in uses for name in use) == [case.name for case in study.dataset.cases]


@pytest.mark.parametrize("text", ["$import os; os.abort()", "@network", "%bundle_root", "<script>", "a\nb", "${HOME}"])
def test_texts_of_the_data_set_stay_texts(maker, text):
    for n in range(2):
        maker.add(f"case{n}")
    maker.content |= {"name": text, "description": text, "licence": text}
    maker.content["labels"] = {"0": "background", "1": text}
    dataset = read_msd(maker.write())
    assert dataset.labels[1] == text
    assert dataset.licence == text

# SPDX-License-Identifier: Apache-2.0
"""The words in a derived bundle's README."""

import json
from dataclasses import replace

import pytest

from monai_ronas.bundle import BundleExporter
from monai_ronas.bundle.readme import _preprocessing
from monai_ronas.data import Fingerprint
from monai_ronas.utils import ChildScore, InferenceChoice

from .exporting import CASES, FACTS, result_of, supernet_of

ZSCORE = {"mode": "zscore"}
CT = {"mode": "ct", "lower": -57.0, "upper": 164.0, "mean": 41.5, "std": 17.25}


@pytest.mark.parametrize(
    ("channels", "crop", "told"),
    [
        ([ZSCORE], False, "Each channel then has mean 0 and standard deviation 1."),
        ([ZSCORE], True, "Each channel then has mean 0 and standard deviation 1 over the voxels that are not 0."),
        ([CT, ZSCORE], False, "Each channel then has mean 0 and standard deviation 1."),
        (
            [CT],
            False,
            "Intensities are clipped to -57 to 164; then 41.5 is subtracted, and they are divided by 17.25.",
        ),
        (
            [CT, {**CT, "lower": -100.0, "mean": 40.0}],
            False,
            "Intensities are clipped to -100 to 164; then 41.5, 40 (by channel) is subtracted, and they are divided by "
            "17.25, 17.25.",
        ),
    ],
)
def test_the_preprocessing_is_told_as_it_is(channels, crop, told):
    fingerprint = Fingerprint(
        name="x",
        spatial_dims=3,
        modality=("CT",) * len(channels),
        labels={0: "background", 1: "organ"},
        num_cases=1,
        target_spacing=(0.5, 1.0, 2.25),
        median_shape=(32, 32, 32),
        max_shape=(32, 32, 32),
        min_shape=(32, 32, 32),
        crop_foreground=crop,
        normalization=tuple(channels),
    )
    first, *others, last = _preprocessing(fingerprint).splitlines()
    assert first == "Volumes are turned to RAS and resampled to 0.5x1x2.25 mm."
    assert others == (["They are cropped to the box around their voxels above 0."] if crop else [])
    assert last == told


def test_the_figure_told_is_that_of_unseen_cases_or_says_what_has_seen_them(study, tmp_path):
    supernet = supernet_of(study)
    exporter = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS)
    test = ChildScore(reward=0.75, per_case=(0.7, 0.8, 0.75), seconds=1.0, peak_memory_mb=1.0)
    for changed, dice, reference in (
        ({"remark": "before it"}, 0.5, "2 reward cases, before it"),
        ({"remark": "before it", "test": test}, 0.75, "3 test cases"),
        ({"test": test, "test_names": ("x", "y", "z"), "test_cases": 52}, 0.75, "3 of the 52 test cases"),
        ({}, 0.5, "2 reward cases"),
        ({"score": None, "case_names": ()}, None, "no cases yet: configs/evaluate.json measures it"),
    ):
        bundle = exporter.run(replace(result_of(supernet.space.base), **changed), seconds=1.0)
        told = json.loads((bundle / "configs" / "metadata.json").read_text())["eval_metrics"]
        assert told == {"mean_dice": dice, "measured_on": reference}
        readme = (bundle / "docs" / "README.md").read_text()
        assert ("3 test cases, which neither training nor reward saw: 0.7500" in readme) == ("test" in changed)
        told = "Dice on 3 of the 52 test cases, the time did not allow more: x, y, z."
        assert (told in readme) == ("test_cases" in changed)
        assert ("reward cases,\nbefore it: 0.5000" in readme) == ("remark" in changed)
        assert ("reward cases was not measured" in readme) == ("score" in changed)


@pytest.mark.parametrize(
    ("origin", "other", "told"),
    [
        ("base network", None, "origin: base network, kept: no other was worth the time of a turn beside it\n"),
        ("base network", 0.6, "origin: base network, kept: no other promised more\n"),
        ("random", 0.6, "origin: random\n"),
    ],
)
def test_the_readme_says_whether_the_base_network_was_kept(study, tmp_path, origin, other, told):
    supernet = supernet_of(study)
    found = result_of(supernet.space.base)
    own = {**found.candidates[0], "origin": origin}
    raced = {"id": "other", "origin": "best candidate", "reward": other, "trained": other and 6.0, "forecast": None}
    found = replace(found, candidates=[own, {**own, **raced}])
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(found, seconds=1.0)
    text = (bundle / "docs" / "README.md").read_text()
    assert told in text
    assert f"| {origin} | {own['id']} | 12 | 0.5000 | 0.6250 |\n" in text
    assert ("| best candidate | other | - | - | - |\n" in text) == (other is None)
    assert ("| best candidate | other | 6 | 0.6000 | - |\n" in text) == (other is not None)


@pytest.mark.parametrize("raced", [True, False])
def test_the_readme_has_a_table_of_contenders_where_there_was_a_race(study, tmp_path, raced):
    supernet = supernet_of(study)
    found = result_of(supernet.space.base)
    nothing = {"reward": None, "trained": None, "forecast": None, "curve": []}
    rows = [{**found.candidates[0], **({"curve": [[12.0, 0.5]]} if raced else nothing)}]
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(
        replace(found, candidates=rows), seconds=1.0
    )
    text = (bundle / "docs" / "README.md").read_text()
    assert ("| origin | id | trained |" in text) == raced
    assert ("A finer or coarser one differs from the base network in the stride of its first stage" in text) == raced
    assert ("### Contenders\n\nThere was no race: no turn was worth its time.\n\n## " in text) != raced


@pytest.mark.parametrize(("voxels", "mode"), [(10**6, "in one shot"), (1000, "in windows of {}")])
def test_the_readme_says_how_volumes_are_segmented(study, tmp_path, voxels, mode):
    supernet = supernet_of(study)
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **{**FACTS, "one_shot_voxels": voxels}).run(
        result_of(supernet.space.base), seconds=1.0
    )
    text = (bundle / "docs" / "README.md").read_text()
    window = "x".join(str(n) for n in supernet.space.patch(supernet.space.base))
    assert f"is segmented {mode.format(window)}" in text
    inferer = json.loads((bundle / "configs" / "inference.json").read_text())["inferer"]
    assert (inferer["max_voxels"], inferer["roi_size"]) == (voxels, list(supernet.space.patch(supernet.space.base)))
    told = f"Volumes of up to {voxels:,} voxels after padding fit the memory of the search's machine and are segmented"
    assert f"{told} in one shot; larger ones in half-overlapping windows of {window}." in text
    assert "Evaluate on a data set in any of the layouts that the search reads:" in text
    assert "--dataset_dir DATA --epochs 10" in text
    assert (bundle / "docs" / "network.png").read_bytes().startswith(b"\x89PNG")
    licence = (bundle / "docs" / "data_license.txt").read_text()
    assert study.dataset.licence in licence


def test_the_readme_says_that_the_cases_of_the_comparison_were_seen(study, tmp_path):
    supernet = supernet_of(study)
    remark = "before the final training, which includes these cases"
    found = replace(result_of(supernet.space.base), inference=InferenceChoice(True, "So.", **CASES), remark=remark)
    bundle = BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(found, seconds=1.0)
    text = (bundle / "docs" / "README.md").read_text()
    assert "The final training has seen these cases: the difference counts, not the figures themselves." in text

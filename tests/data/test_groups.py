# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_ronas.data import DatasetError
from monai_ronas.data.groups import group_cases, group_hint

FRAMES = ["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame12"]


def test_the_first_group_of_the_expression_names_the_patient():
    assert group_cases(FRAMES, r"(patient\d+)_") == dict(
        zip(FRAMES, ["patient001"] * 2 + ["patient002"] * 2, strict=True)
    )
    assert set(group_cases(FRAMES, r"(frame)(\d+)").values()) == {"frame"}
    assert group_cases(FRAMES, None) == {name: name for name in FRAMES}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (r"patient\d+", r"group 'patient\\\\d\+' has no part in parentheses to name the patient: write one such as"),
        (r"(case\d+)", r"finds no patient in 4 of 4 case name\(s\), such as 'patient001_frame01'"),
        (r"(patient001)", r"finds no patient in 2 of 4 case name\(s\), such as 'patient002_frame01'"),
        (r"(case)?", r"finds no patient in 4 of 4"),
        (r"(patient", r"group must be a regular expression such as .*, received '\(patient' \(missing"),
        (7, "group must be a regular expression such as .*, received 7"),
    ],
)
def test_other_expressions_are_refused_in_one_sentence(group, message):
    with pytest.raises(DatasetError, match=message) as caught:
        group_cases(FRAMES, group)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "expression"),
    [
        (FRAMES, r"(patient\d+)_"),
        (["LIDC-IDRI-0007_R_1", "LIDC-IDRI-0698_R_1", "LIDC-IDRI-0698_R_2"], r"(LIDC-IDRI-\d+_R)_"),
        (["BraTS-00001-000", "BraTS-00001-001", "BraTS-00002-000"], r"(BraTS-\d+)-"),
        (["a1_x", "a1_y", "b2_x"], r"(.+)_"),
        (["a1_x", "a1-y", "b2_x"], r"(.+)[-_. ]"),
    ],
)
def test_the_hint_gives_an_expression_that_works(names, expression):
    hint = group_hint(names)
    assert hint is not None
    assert f"--group '{expression}'" in hint
    found = group_cases(names, expression)
    assert len(set(found.values())) == 2
    assert f"begin in {len(set(found.values()))} ways" in hint


@pytest.mark.parametrize(
    "names",
    [
        ["hippocampus_001", "hippocampus_003"],
        ["Task09_spleen_10", "Task09_spleen_2"],  # one beginning is the data set's name
        ["siteA_001", "siteA_002", "siteB_001"],  # no number: places, rather than patients
        ["p1_a", "p2_a", "p3_a"],
        ["p1_a", "p1_b", "p2_a", "other"],
        [],
    ],
)
def test_no_hint_without_reason(names):
    assert group_hint(names) is None

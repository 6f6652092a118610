# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_ronas.data import DatasetError, read_msd
from monai_ronas.data.segment_codes import CATEGORY, TISSUE, TYPE, segments_of

LABELS = {0: "background", 1: "kidney", 4: "tumour"}
KIDNEY = {"CodeValue": "64033007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Kidney"}
LEFT = {"CodeValue": "7771000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Left"}
MODIFIER = "SegmentedPropertyTypeModifierCodeSequence"


def read(root, given):
    content = {"modality": {"0": "CT"}, "labels": {str(v): name for v, name in LABELS.items()}}
    content["training"] = [{"image": "imagesTr/a.nii", "label": "labelsTr/a.nii"}]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir()
        (root / folder / "a.nii").touch()
    (root / "dataset.json").write_text(json.dumps(content | {"segmentAttributes": given}))
    return read_msd(root).codes


@pytest.mark.parametrize("nested", [False, True])
def test_codes_are_those_of_dcmqi_and_a_stated_one_where_there_is_none(tmp_path, nested):
    given = [{"labelID": 1, "SegmentLabel": "x", TYPE: {**KIDNEY, "more": 1}, MODIFIER: LEFT}]
    codes = read(tmp_path, [given] if nested else given)
    assert codes == {1: {TYPE: KIDNEY, MODIFIER: LEFT}}
    assert segments_of(LABELS, codes) == [
        {"labelID": 1, "SegmentLabel": "kidney", CATEGORY: TISSUE, TYPE: KIDNEY, MODIFIER: LEFT},
        {"labelID": 4, "SegmentLabel": "tumour", CATEGORY: TISSUE, TYPE: TISSUE},
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labelID": 1}, "must be a list of segments, as dcmqi has them"),
        ([1], "must be a list of segments, as dcmqi has them"),
        ([{"labelID": 2}], "must have the value of a label under labelID, each once, received 2"),
        ([{"labelID": True}], "each once, received True"),
        ([{"labelID": []}], r"each once, received \[\]"),
        ([{"labelID": 1}, {"labelID": 1}], "each once, received 1"),
        ([{"labelID": 1, TYPE: "kidney"}], "of labelID 1 in dataset.json of .* must give CodeValue and"),
        ([{"labelID": 1, TYPE: {**KIDNEY, "CodeMeaning": "x" * 65}}], "and CodeMeaning, of up to 64: correct it"),
        ([{"labelID": 1, TYPE: {**KIDNEY, "CodeValue": 64033007}}], "must give CodeValue and"),
    ],
)
def test_other_forms_are_refused_in_a_sentence(tmp_path, given, words):
    with pytest.raises(DatasetError, match=words):
        read(tmp_path, given)

# SPDX-License-Identifier: Apache-2.0
"""Codes that say what the labels of a data set are, in the words of dcmqi, for DICOM SEG."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from monai_ronas.data.errors import DatasetError

KEY = "segmentAttributes"
CATEGORY, TYPE = "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"
CODES = (CATEGORY, TYPE, "SegmentedPropertyTypeModifierCodeSequence", "AnatomicRegionSequence")
"""Keys of codes that are taken from ``dataset.json``."""

TISSUE = {"CodeValue": "85756007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Tissue"}
"""SNOMED code for category and type of a label for which none is given, as in 3D Slicer."""

_LENGTHS = {"CodeValue": 16, "CodingSchemeDesignator": 16, "CodeMeaning": 64}  # of the value representations SH, LO
Codes = Mapping[str, Mapping[str, str]]


def read_codes(content: Mapping[str, Any], labels: Mapping[int, str], where: str) -> dict[int, Codes]:
    """The codes of labels in ``dataset.json``: its ``segmentAttributes``, as dcmqi and 3D Slicer have them.

    Args:
        content: what the file holds. Under ``segmentAttributes`` it may have a list of segments, or dcmqi's list of
            such lists; each has the label's value under ``labelID``, and codes under the keys of :data:`CODES`.
        labels: label value to name.
        where: the data set, in the words of the message.

    Returns:
        for the labels that have any, the codes by their keys.

    Raises:
        DatasetError: when an entry is not of this form.

    Example:
        >>> liver = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
        >>> content = {"segmentAttributes": [[{"labelID": 1, "SegmentedPropertyTypeCodeSequence": liver}]]}
        >>> read_codes(content, {0: "background", 1: "liver"}, "a")[1]["SegmentedPropertyTypeCodeSequence"]["CodeValue"]
        '10200004'
    """
    given = content.get(KEY)
    if given is None:
        return {}
    if isinstance(given, list) and all(isinstance(entry, list) for entry in given):
        given = list(chain.from_iterable(given))
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise DatasetError(f"{KEY} in dataset.json of '{where}' must be a list of segments, as dcmqi has them.")
    found: dict[int, Codes] = {}
    for entry in given:
        value = entry.get("labelID")
        if type(value) is not int or value not in labels or value == 0 or value in found:
            raise DatasetError(
                f"{KEY} in dataset.json of '{where}' must have the value of a label under labelID, each once, received"
                f" {value!r}: correct it."
            )
        codes = {key: entry[key] for key in CODES if key in entry}
        for key, code in codes.items():
            if not _is_code(code):
                raise DatasetError(
                    f"{key} of labelID {value} in dataset.json of '{where}' must give CodeValue and"
                    " CodingSchemeDesignator, of up to 16 characters, and CodeMeaning, of up to 64: correct it."
                )
        found[value] = {key: {part: code[part] for part in _LENGTHS} for key, code in codes.items()}
    return found


def segments_of(labels: Mapping[int, str], codes: Mapping[int, Codes] | None = None) -> list[dict[str, Any]]:
    """The segments of a DICOM SEG in the words of dcmqi, one for each foreground label.

    Args:
        labels: label value to name, background (0) included.
        codes: what :func:`read_codes` has found; category and type are :data:`TISSUE` where it has none.

    Example:
        >>> segments_of({0: "background", 4: "edema"})[0]["SegmentLabel"]
        'edema'
    """
    known = codes or {}
    return [
        {"labelID": value, "SegmentLabel": name, CATEGORY: TISSUE, TYPE: TISSUE, **known.get(value, {})}
        for value, name in sorted(labels.items())
        if value
    ]


def _is_code(code: Any) -> bool:
    return isinstance(code, dict) and all(
        isinstance(code.get(part), str) and 0 < len(code[part].strip()) <= length for part, length in _LENGTHS.items()
    )

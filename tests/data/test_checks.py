# SPDX-License-Identifier: Apache-2.0
"""Preprocessing takes what the verification takes, gives the same labels, and refuses the rest in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from monai_ronas import find_error
from monai_ronas.data import build_preprocessing, open_study, read_msd, verify_dataset

from .corpus import CORPUS, IN_CASE, shifted
from .test_preprocessing import FINGERPRINT

SHAPE = (9, 8, 7)
THREE = {0: "background", 1: "head", 2: "tail"}
FACTS = dataclasses.replace(FINGERPRINT, labels=THREE, target_spacing=(1.0, 1.0, 1.0))


def organ() -> np.ndarray:
    """A label that no mirroring and no exchange of axes leaves as it is."""
    label = np.zeros(SHAPE, np.uint8)
    label[1:4, 1:6, 1:3] = 1
    label[4:6, 1:3, 1:6] = 2
    return label


def affine() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = (-20.0, 5.0, 11.0)
    return matrix


def turned(codes: str):
    """The same label in the world, its voxels in another order."""
    stored = nib.Nifti1Image(organ(), affine())
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine()), nib.orientations.axcodes2ornt(codes))
    stored = stored.as_reoriented(turn)
    return np.asarray(stored.dataobj), stored.affine


def near_45_degrees(shift: float):
    """A grid whose axes could be taken for either of two, with a label that is off by less than the tolerance."""
    matrix = affine()
    angle = np.pi / 4 + shift
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


SAME = {
    "as it is": (organ(), affine()),
    "in LPS": turned("LPS"),
    "in SAR": turned("SAR"),
    "in PIL": turned("PIL"),
    "with a last axis of one": (organ()[..., None], affine()),
    "float32": (organ().astype(np.float32), affine()),
    "float64 and in ASL": (turned("ASL")[0].astype(np.float64), turned("ASL")[1]),
    "0.99999994": ((organ() * np.float32(0.99999994)).astype(np.float32), affine()),
    "1.9999999": (organ().astype(np.float64) * 0.99999995, affine()),
    "1.0004": (organ() * np.float32(1.0004), affine()),
    "int16": (organ().astype(np.int16), affine()),
    "off by half the tolerance": (organ(), affine() + shifted(5e-4) - np.eye(4)),
}


def written(maker, label, label_affine, image_affine=None):
    maker.content["labels"] = {str(value): name for value, name in THREE.items()}
    maker.add("case", label=label, affine=affine() if image_affine is None else image_affine, label_affine=label_affine)
    root = maker.write()
    return root, {key: str(root / f"{key}sTr" / "case.nii.gz") for key in ("image", "label")}


@pytest.mark.parametrize("form", SAME)
def test_the_same_label_in_every_form(maker, form):
    root, item = written(maker, *SAME[form])
    report, _ = verify_dataset(read_msd(root))
    assert report["faults"] == report["warnings"] == []
    assert report["cases"][0]["label_voxels"] == {"0": 454, "1": 30, "2": 20}
    found = build_preprocessing(FACTS)(item)
    np.testing.assert_array_equal(found["label"][0], organ())
    assert found["image"].shape == found["label"].shape


@pytest.mark.parametrize("shift", [-2e-4, 0.0, 2e-4])
def test_grids_that_count_as_equal_are_turned_alike(maker, shift):
    root, item = written(maker, organ(), near_45_degrees(-shift), near_45_degrees(shift))
    assert verify_dataset(read_msd(root))[0]["faults"] == []
    found = build_preprocessing(FACTS, track_meta=True)(item)
    np.testing.assert_array_equal(found["image"].affine, found["label"].affine)
    counts = np.bincount(np.asarray(found["label"]).astype(int).ravel(), minlength=3)
    assert counts[1:] == pytest.approx([30, 20], abs=8)


OTHER = {
    "smaller": (organ()[3:], affine() @ nib.affines.from_matvec(np.eye(3), (3, 0, 0)), "another grid"),
    "elsewhere": (organ(), affine() + shifted(3) - np.eye(4), "the affines differ by 3 "),
    "with other voxels": (organ(), affine() @ np.diag([1.1, 1, 1, 1]), "the affines differ by 0.1 "),
    "undeclared": (organ() * 3, affine(), "holds 3, 6, which the network does not have (declared: 0, 1, 2)"),
    "negative": (-organ().astype(np.int16), affine(), "holds -2, -1, which"),
    "between": (organ() * np.float32(0.995), affine(), "not whole numbers, such as 0.995"),
    "halves": (organ() * 0.5, affine(), "holds 30 value(s) that are not whole numbers, such as 0.5"),
    "NaN": (np.where(organ() == 2, np.nan, organ()), affine(), "holds 20 NaN or infinite"),
    "channels": (np.stack([organ()] * 2, -1), affine(), "the label has shape (9, 8, 7, 2)"),
}


@pytest.mark.parametrize("form", OTHER)
def test_other_labels_are_refused_by_name(maker, form):
    label, label_affine, expected = OTHER[form]
    root, item = written(maker, label, label_affine)
    assert verify_dataset(read_msd(root))[0]["faults"]
    with pytest.raises(RuntimeError) as caught:
        build_preprocessing(FACTS)(item)
    message = str(find_error(caught.value))
    assert message.startswith("'case.nii.gz': the label")
    assert expected in message
    assert "\n" not in message


def test_a_label_on_another_grid_is_resampled_where_asked_for(maker):
    label, label_affine, _ = OTHER["smaller"]
    _, item = written(maker, label, label_affine)
    found = build_preprocessing(dataclasses.replace(FACTS, resample_label=True))(item)["label"][0].numpy()
    np.testing.assert_array_equal(found[3:], organ()[3:])
    assert not found[:3].any()


# What one volume alone can tell. A single slice can be segmented, but teaches nothing; where one geometry in a header
# is no number, MONAI's reader takes the other one.
ALONE = {
    name: spoil
    for name, (spoil, expected) in CORPUS.items()
    if expected.startswith(IN_CASE)
    and name not in ("listed twice", "image of another case", "single slice", "affine not a number")
    and "outside" not in expected
    and "neither" not in expected
}


@pytest.mark.parametrize("name", ALONE)
def test_what_the_verification_refuses_preprocessing_refuses_too(maker, name):
    ALONE[name](maker)
    root = maker.write()
    (entry,) = maker.content["training"]
    item = {key: str(root / path) for key, path in entry.items()}
    facts = dataclasses.replace(FACTS, labels={0: "background", 1: "organ"})
    with pytest.raises(RuntimeError) as caught:
        build_preprocessing(facts)(item)
    message = str(find_error(caught.value))
    assert message.startswith(f"'{Path(entry['image']).name}': the ")
    assert "\n" not in message


def test_spacings_are_compared_in_the_order_of_the_axes(maker):
    facts = dataclasses.replace(FACTS, target_spacing=(0.2, 0.2, 5.0))
    matrix = np.zeros((4, 4))
    matrix[2, 0], matrix[0, 1], matrix[1, 2], matrix[3, 3] = 5.0, 0.2, 0.2, 1
    _, item = written(maker, organ(), matrix, matrix)
    assert build_preprocessing(facts, keys=("image",))(item)["image"].shape == (1, 8, 7, 9)
    other = build_preprocessing(dataclasses.replace(facts, target_spacing=(5.0, 0.2, 0.2)), keys=("image",))
    with pytest.raises(RuntimeError) as caught:
        other(item)
    assert "0.2 x 0.2 x 5 mm where 5 x 0.2 x 0.2 mm are usual" in str(find_error(caught.value))


def test_the_search_sees_the_label_that_was_verified(maker, tmp_path):
    for n in range(5):
        maker.add(f"case{n}", label=(organ() > 0).astype(np.uint8), affine=affine())
    label, label_affine = turned("LPS")
    nib.save(nib.Nifti1Image((label > 0) * np.float32(0.99999994), label_affine), maker.root / "labelsTr/case3.nii.gz")
    study = open_study(maker.write(), tmp_path, fold=None, num_folds=5, reward_fraction=0.25, seed=0)
    (case,) = (case for case in study.dataset.cases if case.name == "case3")
    preprocessing = build_preprocessing(study.fingerprint)
    assert isinstance(preprocessing, Compose)
    found = preprocessing({"image": str(case.image), "label": str(case.label)})["label"][0]
    np.testing.assert_array_equal(found, organ() > 0)

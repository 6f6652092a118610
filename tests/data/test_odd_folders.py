# SPDX-License-Identifier: Apache-2.0
"""Random mixtures of sound and faulty cases: each fault is told of its case, and the sound ones can be used."""

from __future__ import annotations

import codecs
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_ronas.data import DatasetError, open_study

from .conftest import DatasetMaker
from .corpus import SHAPE, far, label, noise, with_value

SPLIT = {"fold": 0, "num_folds": 3, "reward_fraction": 0.4, "seed": 0}
CUBE = np.zeros(SHAPE, np.uint8)
CUBE[2:5, 2:5, 2:5] = 1


@dataclass
class Place:
    """Where a case lies, and how it is listed."""

    image: Path
    label: Path
    entry: dict[str, str]


def save(path, data, affine=None):
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


def in_its_place(path, make):
    path.unlink()
    make(path)


def listed(place, **change):
    place.entry.update({key: make(path) for key, make in change.items() for path in [place.entry[key]]})


def backslashes(path):
    return path.replace("/", "\\")


def capital(path):
    return path.replace(".nii.gz", ".NII.GZ")


def named(path, name):
    path.rename(path.with_name(name))


SOUND = {
    "plain": lambda place: None,
    "float label": lambda place: save(place.label, CUBE.astype(np.float32)),
    "nearly whole label": lambda place: save(place.label, CUBE * np.float32(0.99999994)),
    "empty label": lambda place: save(place.label, 0 * CUBE),
    "axis of one channel": lambda place: save(place.image, noise((*SHAPE, 1), seed=len(place.image.name))),
}
SOUND_LISTINGS = {
    "Windows": lambda place: listed(place, image=backslashes, label=backslashes),
    "absolute": lambda place: listed(place, image=lambda _: str(place.image), label=lambda _: str(place.label)),
}
FAULTS = {
    "image missing": (lambda place: place.image.unlink(), "missing|no image"),
    "label missing": (lambda place: place.label.unlink(), "the label file '.*' is missing"),
    "label of another shape": (lambda place: save(place.label, CUBE[:-1]), "another grid"),
    "label of another spacing": (lambda place: save(place.label, CUBE, far(2.0)), "another grid"),
    "absurd spacing": (lambda p: [save(f, d, far(1000.0)) for f, d in ((p.image, noise()), (p.label, CUBE))], "voxels"),
    "moments of time": (lambda place: save(place.image, noise((*SHAPE, 6))), r"6 channel\(s\), or moments of time"),
    "two channels": (lambda place: save(place.image, noise((*SHAPE, 2))), r"2 channel\(s\)"),
    "NaN": (lambda place: save(place.image, with_value(np.nan)), "1 NaN or infinite"),
    "undeclared value": (lambda place: save(place.label, label(1, 5)), "holds 5, which dataset.json does not declare"),
    "fractions": (lambda place: save(place.label, label(1, 0.5, dtype=np.float32)), "not whole numbers, such as 0.5"),
    "constant": (lambda place: save(place.image, np.ones(SHAPE, np.float32)), "same value, 1, everywhere"),
    "flat": (lambda place: save(place.image, noise(SHAPE[:2])), r"shape \(9, 8\)"),
    "cut": (lambda place: place.image.write_bytes(place.image.read_bytes()[:-300]), "cannot be read"),
    "folder for an image": (lambda place: in_its_place(place.image, Path.mkdir), "folder|no image"),
    "folder for a label": (lambda place: in_its_place(place.label, Path.mkdir), "folder|missing"),
    "endless link": (lambda p: in_its_place(p.image, lambda path: path.symlink_to(path)), "link that leads nowhere"),
    "link to nothing": (lambda p: in_its_place(p.label, lambda path: path.symlink_to("no")), "link that leads nowhere"),
    "capital ending": (
        lambda place: (named(place.image, capital(place.image.name)), listed(place, image=capital)),
        "ending in capital letters: rename it to small ones",
    ),
}
FAULTY_LISTINGS = {
    "elsewhere": (
        lambda place: listed(place, image=lambda _: "/elsewhere/a.nii.gz"),
        "outside of the data set's folder",
    ),
    "number for a path": (lambda place: listed(place, image=lambda _: 7), "needs image and label paths"),
}


def fill(maker: DatasetMaker, chance: random.Random, layout: str) -> tuple[set[str], dict[str, str]]:
    """Write a data set; returns the names of the sound cases, and what must be told of the others."""
    msd = layout == "MSD"
    sound = {**SOUND, **(SOUND_LISTINGS if msd else {})}
    faults = {**FAULTS, **(FAULTY_LISTINGS if msd else {})}
    chosen = chance.sample(list(faults), chance.randint(0, 4))
    kinds = ["plain"] * 6 + chance.choices(list(sound), k=3) + chosen
    chance.shuffle(kinds)
    names, told = set(), {}
    for n, kind in enumerate(kinds):
        name = f"c{n:0{n + 1}d}"  # names of different lengths
        maker.add(name)
        entry = maker.content["training"][-1]
        place = Place(maker.root / entry["image"], maker.root / entry["label"], entry)
        if not msd:
            named(place.image, f"{name}_0000.nii.gz")
            place.image = place.image.with_name(f"{name}_0000.nii.gz")
        if kind in sound:
            sound[kind](place)
            names.add(name)
        else:
            faults[kind][0](place)
            told[name] = faults[kind][1]
    write(maker, chance, msd)
    return names, told


def write(maker, chance, msd):
    if not msd:
        del maker.content["training"]
        maker.content |= {"channel_names": maker.content.pop("modality"), "file_ending": ".nii.gz"}
    if chance.random() < 0.5:
        maker.content["labels"] = {"background": chance.choice([0, "0"]), "organ": chance.choice([1, "1"])}
    mark = codecs.BOM_UTF8 if chance.random() < 0.5 else b""
    (maker.root / "dataset.json").write_bytes(mark + json.dumps(maker.content).encode())


def is_named(name, found):
    """A case is told by its name, one that cannot be read as a case by its place in the list."""
    return found == name or found.startswith("training[") or found == f"{name}.NII.GZ"


@pytest.mark.parametrize("seed", range(30))
def test_any_folder_is_used_or_its_faults_are_told(maker, tmp_path, seed):
    chance = random.Random(seed)
    sound, faults = fill(maker, chance, chance.choice(["MSD", "MSD", "nnU-Net"]))
    if not faults:
        study = open_study(maker.root, tmp_path / "out", **SPLIT)
        assert {case.name for case in study.dataset.cases} == sound
        return
    with pytest.raises(DatasetError) as caught:
        open_study(maker.root, tmp_path / "out", **SPLIT)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert f" {len(faults)} fault" in sentence
    assert "correct it" in sentence or "declare the value in 'labels' of dataset.json or correct the label" in sentence
    found = json.loads((tmp_path / "out" / "dataset_report.json").read_text())["faults"]
    assert len(found) == len(faults)
    assert f"in case '{found[0]['case']}': {found[0]['problem']}" in sentence
    for name, expected in faults.items():
        assert any(is_named(name, f["case"]) and re.search(expected, f["problem"]) for f in found), (name, found)
    study = open_study(maker.root, tmp_path / "out", **SPLIT, skip_invalid=True)
    assert {case.name for case in study.dataset.cases} == sound

# SPDX-License-Identifier: Apache-2.0
"""Random mixtures of sound and odd files: all that is sound is done as if it were alone, all that is not is named."""

from __future__ import annotations

import random
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_ronas import find_error
from monai_ronas.bundle.configs import Derived
from monai_ronas.bundle.evaluate_config import evaluate_config
from monai_ronas.networks.nets import RonasUNet
from tests.bundle.small_volumes import BAD, FINGERPRINT, SHAPE, save, segment, volume

from .test_cases import dataset, split_file

SHEARED = np.array([[1, 0.1, 0, 5], [0, 1, 0, -3], [0, 0, 1.2, 2], [0, 0, 0, 1.0]])
TURNED = np.array([[0, 0, -1.0, 7], [1.5, 0, 0, 0], [0, -1, 0, 3], [0, 0, 0, 1]])
SOUND = {
    "plain": lambda path, seed: save(path, volume(seed)),
    "sheared": lambda path, seed: save(path, volume(seed), SHEARED),
    "turned": lambda path, seed: save(path, volume(seed), TURNED),
    "integers": lambda path, seed: save(path, volume(seed).astype(np.int16)),
    "small": lambda path, seed: save(path, volume(seed, (3, 2, 2))),
    "slice": lambda path, seed: save(path, volume(seed, (12, 10, 1))),
    "channel": lambda path, seed: save(path, volume(seed, (*SHAPE, 1))),
}
OTHERS = {
    "notes.txt": lambda path: path.write_text("not a volume"),
    "image.png": lambda path: path.write_bytes(b"\x89PNG"),
}


def fill(folder: Path, chance: random.Random) -> tuple[list[str], list[str], list[str]]:
    """Write a mixture into a folder; returns the names that are sound, those that are not, and those passed over."""
    sound, bad, others = [], [], []
    for n in range(chance.randint(1, 4)):
        name = f"s{n}{chance.choice(['.nii', '.nii.gz'])}"
        SOUND[chance.choice(list(SOUND))](folder / name, chance.randrange(1000))
        sound.append(name)
        if name.endswith(".nii") and chance.random() < 0.4:  # another volume of the same stem
            save(folder / f"{name}.gz", volume(chance.randrange(1000)))
            sound.append(f"{name}.gz")
    if chance.random() < 0.3:
        save(folder / "below" / "deep.nii.gz", volume(chance.randrange(1000)))
        sound.append("below/deep.nii.gz")
    for n, form in enumerate(chance.sample(list(BAD), chance.randint(0, 3))):
        BAD[form][0](folder / f"{chance.choice('aex')}{n}.nii.gz")  # before and after the sound ones
    bad = [p.name for p in folder.iterdir() if p.name not in {*sound, "below"}]
    for name in chance.sample(list(OTHERS), chance.randint(0, 2)):
        OTHERS[name](folder / name)
        others.append(name)
    return sound, bad, others


@pytest.mark.parametrize("seed", range(50))
def test_any_folder_of_volumes(tmp_path, caplog, seed):
    chance = random.Random(seed)
    folder = tmp_path / "in"
    folder.mkdir()
    sound, bad, others = fill(folder, chance)
    out = chance.choice([tmp_path / "out", folder / "predictions", folder])
    sentence = segment(folder, out)
    assert (sentence is None) == (not bad)
    if bad:
        assert sentence.startswith(f"{len(bad)} of {len(bad) + len(sound)} volume(s) could not be segmented: ")
        assert "\n" not in sentence
        assert all(f"'{name}'" in sentence for name in bad)
    assert all(f"'{name}'" in caplog.text for name in others)
    written = list(out.rglob("*_seg.nii.gz"))
    assert len(written) == len(sound)
    for name in sound:
        stem = (
            name if name.endswith(".nii") and f"{name}.gz" in sound else name.removesuffix(".gz").removesuffix(".nii")
        )
        image, found = nib.load(folder / name), nib.load(out / f"{stem}_seg.nii.gz")
        assert found.shape == image.shape[:3]
        np.testing.assert_allclose(found.affine, image.affine, atol=1e-4)
        alone = tmp_path / f"alone {name}"
        (alone / name).parent.mkdir(parents=True)
        (alone / name).write_bytes((folder / name).read_bytes())
        if chance.random() < 0.3:  # one after the other gives the same
            assert segment(alone, tmp_path / f"out {name}") is None
            (single,) = (path for path in (tmp_path / f"out {name}").rglob("*") if path.is_file())
            np.testing.assert_array_equal(np.asarray(nib.load(single).dataobj), np.asarray(found.dataobj))


def evaluate(root: Path, out: Path) -> float:
    """Mean Dice by ``evaluate.json`` of a data set, with a network of arbitrary but fixed weights."""
    network = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": (2, 2),
        "strides": ((1, 1, 1), (1, 1, 1)),
        "dilations": (1, 1),
        "deep_supervision": False,
    }
    derived = Derived(
        network, (1, 1, 1), (4, 4, 4), 10**6, FINGERPRINT, batch_size=1, amp=False, flip_axes=(), test_time_flips=False
    )
    torch.manual_seed(0)
    models = out / "bundle" / "models"
    models.mkdir(parents=True, exist_ok=True)
    torch.save(RonasUNet(**network).state_dict(), models / "model.pt")
    config = {**evaluate_config(derived), "dataset_dir": str(root), "output_dir": str(out), "device": "cpu"}
    config["datalist"] = config["datalist"].replace("@bundle_root + '/docs/data_split.json'", f"'{split_file(out)}'")
    config |= {"bundle_root": str(models.parent), "handlers": ["@checkpointloader"]}
    parser = ConfigParser(config)
    for number in range(len(parser["run"])):
        parser.get_parsed_content(f"run#{number}")
    return float(parser.get_parsed_content("evaluator").state.metrics["mean_dice"])


TYPES = [np.uint8, np.int16, np.int32, np.uint16, np.float32, np.float64]


@pytest.mark.parametrize("seed", range(12))
def test_any_form_of_the_same_labels_has_the_same_dice(tmp_path, seed):
    """Orientations x types x roundings: the Dice of the plain labels, or a sentence."""
    chance = random.Random(seed)
    root = dataset(tmp_path / "data", {"x": 20, "y": 21})
    (tmp_path / "out").mkdir()
    expected = evaluate(root, tmp_path / "out")
    assert 0 < expected < 1
    refused = False
    for path in sorted((root / "labelsTr").iterdir()):
        codes = "".join(chance.choice(pair) for pair in chance.sample(["LR", "AP", "IS"], 3))
        plain = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(plain.affine), nib.orientations.axcodes2ornt(codes))
        turned = plain.as_reoriented(turn)
        kind = chance.choice(TYPES)
        values = np.asarray(turned.dataobj).astype(kind)
        rounding = chance.choice([0.0, 1e-7, 9e-4, 2e-3]) if np.issubdtype(kind, np.floating) else 0.0
        values = (values * (1 - rounding)).astype(kind)
        refused = refused or rounding > 1e-3
        nib.save(nib.Nifti1Image(values, turned.affine), path)
    if not refused:
        assert evaluate(root, tmp_path / "out") == expected
        return
    with pytest.raises(RuntimeError) as caught:
        evaluate(root, tmp_path / "out")
    assert "value(s) that are not whole numbers, such as 0.998" in str(find_error(caught.value))

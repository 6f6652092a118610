# SPDX-License-Identifier: Apache-2.0
"""Bad data sets: what spoils each, and the sentence that it must give."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import numpy as np

SHAPE = (9, 8, 7)


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 2, shape).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    image = noise()
    image[4, 4, 4] = value
    return image


def label(*values: float, dtype: type = np.uint8, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    data = np.zeros(shape, dtype=dtype)
    data.flat[: len(values)] = values
    return data


def colours() -> np.ndarray:
    return np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


def add(**arrays: np.ndarray) -> Callable:
    """A case with arrays of its own."""
    return lambda maker: maker.add("bad", **arrays)


def listed(entry: object) -> Callable:
    """A case that is listed in an odd way."""

    def spoil(maker):
        maker.add("bad")
        maker.content["training"][-1] = entry

    return spoil


def content(**changes: object) -> Callable:
    """A change of dataset.json."""
    return lambda maker: maker.content.update(changes)


def written(what: str, change: Callable[[bytes], bytes], suffix: str = ".nii.gz") -> Callable:
    """A change of the bytes of a file."""

    def spoil(maker):
        maker.add("bad", suffix=suffix)
        path = maker.root / f"{what}sTr" / f"bad{suffix}"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def header(offset: int, kind: str, *values: float, what: str = "image") -> Callable:
    """A change in the header of a NIfTI file; ``offset`` in bytes."""

    def change(raw: bytes) -> bytes:
        packed = struct.pack("<" + kind, *values)
        return raw[:offset] + packed + raw[offset + len(packed) :]

    return written(what, change, ".nii")


def early_end(raw: bytes) -> bytes:
    """Well compressed, header whole, but the voxels end early."""
    return gzip.compress(gzip.decompress(raw)[:-400])


def twice(maker):
    maker.add("bad")
    maker.content["training"].append(maker.content["training"][-1])


def gone(what: str) -> Callable:
    return lambda maker: (maker.add("bad"), (maker.root / f"{what}sTr" / "bad.nii.gz").unlink())


def same_image(maker):
    maker.add("a_first", image=noise())
    maker.add("bad", image=noise())


def few_cases(maker):
    del maker.content["training"][3:]


def far(spacing: float) -> np.ndarray:
    return np.diag([spacing, 1.0, 1.0, 1.0])


def shifted(by: float) -> np.ndarray:
    affine = np.eye(4)
    affine[1, 3] = by
    return affine


IN_CASE = "in case 'bad'.*"
CORPUS: dict[str, tuple[Callable, str]] = {
    "image missing": (gone("image"), IN_CASE + "the image file './imagesTr/bad.nii.gz' is missing"),
    "label missing": (gone("label"), IN_CASE + "the label file './labelsTr/bad.nii.gz' is missing"),
    "path to the outside": (listed({"image": "../bad.nii", "label": "b.nii"}), IN_CASE + "outside of the data set"),
    "absolute path": (listed({"image": "/bad.nii.gz", "label": "b.nii"}), IN_CASE + "outside of the data set"),
    "empty path": (listed({"image": "", "label": ""}), "outside of the data set"),
    "null character": (listed({"image": "imagesTr/ba\0d.nii", "label": "b.nii"}), "null character"),
    "endless name": (
        listed({"image": "x" * 300 + ".nii", "label": "b.nii"}),
        "cannot be looked up .File name too long",
    ),
    "other format": (listed({"image": "imagesTr/bad.png", "label": "b.nii"}), "neither .nii.gz, .nii, .* nor .mhd"),
    "entry is text": (listed("imagesTr/bad.nii.gz"), r"in case 'training\[5\]'.*image and label paths"),
    "entry without label": (listed({"image": "imagesTr/bad.nii.gz"}), "image and label paths"),
    "entry with numbers": (listed({"image": 1, "label": 2}), "image and label paths"),
    "listed twice": (twice, IN_CASE + "listed more than once"),
    "no labels": (content(labels=None), "has no labels"),
    "labels are a list": (content(labels=["background", "organ"]), "has no labels"),
    "half a character": (content(licence="\ud83d"), "is not valid JSON .*surrogates not allowed"),
    "labels without background": (content(labels={"1": "organ", "2": "cyst"}), r"received \[1, 2\]"),
    "labels of regions": (content(labels={"background": 0, "whole": [1, 2]}), "'whole' several values, a region"),
    "superscript label": (content(labels={"0": "background", "²": "organ"}), "whole numbers"),
    "background alone": (content(labels={"0": "background"}), "background alone"),
    "no modality": (content(modality=None), "no modality"),
    "modality with a gap": (content(modality={"0": "T1", "2": "T2"}), r"0..n"),
    "no cases": (content(training=[]), "is empty"),
    "cases not in a list": (content(training={"image": "a"}), "no training list"),
    "fewer cases than folds": (few_cases, "cannot fill num_folds 5"),
    "empty image file": (written("image", lambda raw: b""), IN_CASE + "cannot be read"),
    "text for an image": (written("image", lambda raw: b"no volume"), IN_CASE + "cannot be read"),
    "compressed image cut": (written("image", lambda raw: raw[: len(raw) // 2]), IN_CASE + "cannot be read"),
    "compressed image ends early": (written("image", early_end), IN_CASE + "cannot be read"),
    "compressed label ends early": (written("label", early_end), IN_CASE + "cannot be read"),
    "image cut": (written("image", lambda raw: raw[:-1], ".nii"), IN_CASE + "cannot be read"),
    "label cut in its header": (written("label", lambda raw: raw[:300], ".nii"), IN_CASE + "cannot be read"),
    "negative size": (header(42, "h", -9), IN_CASE + "the image"),
    "size beyond the file": (header(42, "3h", 30000, 30000, 30000), IN_CASE + "cannot be read"),
    "unknown type": (header(70, "h", 4321), IN_CASE + "cannot be read"),
    "spacing zero": (header(280, "f", 0.0), IN_CASE + "cannot be inverted"),
    "affine not a number": (header(280, "f", float("nan")), IN_CASE + "cannot be inverted"),
    "spacing of another scale": (add(image=noise(), affine=far(1000)), IN_CASE + "resampled to 8001 x 8 x 7 voxels"),
    "NaN": (add(image=with_value(np.nan)), IN_CASE + "1 NaN or infinite"),
    "infinity": (add(image=with_value(np.inf)), IN_CASE + "1 NaN or infinite"),
    "intercept not a number": (header(112, "2f", 1.0, float("nan")), IN_CASE + "cannot be read"),
    "mark for no data": (add(image=with_value(-3.4e38)), IN_CASE + "holds -3.4e\\+38, perhaps a mark for no data"),
    "constant": (add(image=np.ones(SHAPE, np.float32)), IN_CASE + "same value, 1, everywhere"),
    "flat": (add(image=noise((9, 8)), label=label(1)), IN_CASE + r"shape \(9, 8\)"),
    "single slice": (add(image=noise((9, 8, 1))), IN_CASE + "a single slice"),
    "time axis": (add(image=noise((*SHAPE, 6))), IN_CASE + r"6 channel\(s\), or moments of time"),
    "five axes": (add(image=noise((*SHAPE, 1, 3))), IN_CASE + r"shape \(9, 8, 7, 1, 3\)"),
    "complex image": (add(image=noise().astype(np.complex64)), IN_CASE + "complex values"),
    "coloured image": (add(image=colours(), label=label(1)), IN_CASE + "cannot be read"),
    "coloured label": (add(image=noise(), label=colours()), IN_CASE + "not whole numbers"),
    "label of another shape": (add(image=noise(), label=label(1)[:-1]), IN_CASE + "another grid.*resample_label"),
    "label elsewhere": (add(image=noise(), label_affine=shifted(3)), IN_CASE + "differ by 3 .*resample_label"),
    "label with two channels": (add(image=noise(), label=label(1, shape=(*SHAPE, 2))), r"shape \(9, 8, 7, 2\)"),
    "undeclared label": (add(image=noise(), label=label(1, 5)), IN_CASE + "holds 5, which dataset.json does not"),
    "negative label": (add(image=noise(), label=label(1, -1, dtype=np.int16)), IN_CASE + "holds -1"),
    "fractional label": (add(image=noise(), label=label(1, 0.5, dtype=np.float32)), IN_CASE + "such as 0.5"),
    "label not a number": (add(image=noise(), label=label(np.nan, dtype=np.float32)), IN_CASE + "label holds 1 NaN"),
    "image of another case": (same_image, IN_CASE + "the same as that of case 'a_first'"),
}

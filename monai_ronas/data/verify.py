# SPDX-License-Identifier: Apache-2.0
"""Verification of a data set: every file is decoded once and all faults are reported together."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_ronas.data.checked import CheckedCase, check_duplicates, check_spacings
from monai_ronas.data.content import image_digest
from monai_ronas.data.errors import DatasetError, Fault, VolumeError
from monai_ronas.data.image_faults import affine_faults, channel_faults, value_faults
from monai_ronas.data.label_faults import OTHER_GRID, on_image_grid, undeclared_faults, whole_numbers
from monai_ronas.data.memo import VerificationMemo, case_key
from monai_ronas.data.msd import Case, MSDDataset
from monai_ronas.data.pieces import narrowed, pieces
from monai_ronas.data.reading import broken_file, read_volume
from monai_ronas.data.sizes import bounded_map, case_values
from monai_ronas.data.stats import CaseStats, case_stats
from monai_ronas.utils import write_atomically
from monai_ronas.utils.ranks import is_main

_VERSION = 4  # of the checks; another one makes what is remembered void
_BYTES_PER_VALUE = 5  # of memory, at the peak of a check
_UNDECLARED = "dataset.json does not declare"
_MOST_WORKERS = 8
_MANY = 256  # different values, which are not listed one by one where some are not declared
_SKEW = 1e-3  # of the cosine between two axes of a volume
logger = logging.getLogger(__name__)


def verify_dataset(
    dataset: MSDDataset,
    *,
    workers: int | None = None,
    resample_label: bool = False,
    memo: str | os.PathLike[str] | None = None,
) -> tuple[dict[str, Any], list[CaseStats]]:
    """Decode every image and label once, report all faults and collect the statistics of the sound cases.

    Faults: entries of the training list that name no file of the data set; unreadable or truncated files, a wrong
    number of dimensions, a single slice, a channel count that contradicts ``dataset.json``, NaN or infinite values, an
    image of one constant value, an image that another case has as well, voxels of another scale than the data set's
    (``SPACING_RANGE``), a label on another grid than its image, label values that are not declared or not whole
    numbers. Warnings: a label without foreground, axes that are not at right angles. What counts as the same grid and
    as a whole number is said in :mod:`monai_ronas.data.label_faults`.

    Args:
        dataset: the data set, as read by :func:`monai_ronas.data.read_msd`.
        workers: most cases at once; ``None`` for one per CPU core, at most 8. As many of them are checked at once as
            :func:`monai_ronas.data.sizes.bounded_map` has memory for.
        resample_label: a label on another grid than its image is not a fault: it will be resampled.
        memo: file in which what was found in sound cases is remembered; such a case is not read again while path, size
            and time of modification of its files stay.

    Returns:
        The report, a JSON-able dict with the keys ``dataset`` (summary, layout and formats included), ``cases`` (name,
        shape, spacing in mm, orientation codes, label voxel counts, digest of the image; geometry in file order),
        ``faults`` and
        ``warnings`` (both lists of ``{"case", "problem"}``), and the statistics of the cases without fault, sorted by
        name.

    Example:
        >>> import tempfile
        >>> from monai_ronas.data import make_phantom_dataset, read_msd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = read_msd(make_phantom_dataset(f"{folder}/phantom", num_cases=2, size=(16, 16, 16)))
        ...     report, stats = verify_dataset(dataset, workers=1)
        >>> report["faults"], [case.spacing for case in stats]
        ([], [(1.0, 1.0, 2.0), (1.0, 1.0, 2.0)])
    """
    known = VerificationMemo(memo)
    settings = [_VERSION, sorted(dataset.labels), dataset.ignore_label, dataset.in_channels, resample_label]

    def verified(case: Case) -> CheckedCase:
        key = case_key(case, settings)
        checked = known.get(key)
        if checked is None:
            checked = _verify_case(case, dataset, resample_label)
            known.add(key, checked)
        return checked

    def needed(case: Case) -> int:
        return 0 if case_key(case, settings) in known else _BYTES_PER_VALUE * sum(case_values(case))

    results = bounded_map(verified, dataset.cases, needed, most=workers or _MOST_WORKERS)
    check_duplicates(results)
    check_spacings(results)
    listed = [{"case": name, "problem": problem} for name, problem in dataset.faults]
    report = {
        "dataset": {
            "name": dataset.name,
            "description": dataset.description,
            "licence": dataset.licence,
            "modality": {str(key): name for key, name in dataset.modality.items()},
            "labels": {str(key): name for key, name in dataset.labels.items()},
            "num_cases": len(dataset.cases),
            "layout": dataset.layout,
            "formats": dataset.formats,
        },
        "cases": [found.entry for found in results],
        "faults": listed + [{"case": c.entry["name"], "problem": text} for c in results for text in c.problems],
        "warnings": [{"case": c.entry["name"], "problem": text} for c in results for text in c.warnings],
    }
    return report, [found.stats for found in results if found.stats is not None and not found.problems]


def write_report(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report of :func:`verify_dataset` as JSON; of many processes rank 0 does.

    Args:
        report: the report.
        path: file to write; its folder is made if needed.
    """
    if not is_main():
        return
    text = json.dumps(report, indent=2) + "\n"
    write_atomically(Path(path), lambda file: file.write(text.encode()))


def raise_for_faults(report: Mapping[str, Any], *, report_path: str | os.PathLike[str] | None = None) -> None:
    """Raise if a report holds faults; the log gets a table of them all.

    Args:
        report: the report of :func:`verify_dataset`.
        report_path: where the full report was written, to be named in the message.

    Raises:
        DatasetError: one sentence with the number of faults, the first one, the flags that mend them and the place of
            the full report.
    """
    faults = report["faults"]
    if faults:
        logger.error("faults of data set %r:\n%s", report["dataset"]["name"], as_table(faults))
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        first = "" if len(faults) == 1 else ", the first"
        place = f"; the full report is in '{report_path}'" if report_path is not None else ""
        grids = any(fault["problem"].startswith(OTHER_GRID) for fault in faults)
        undeclared = _UNDECLARED in faults[0]["problem"]
        advice = ["declare the value in 'labels' of dataset.json or correct the label" if undeclared else "correct it"]
        if grids:
            advice.append("--resample_label true resamples labels to the grid of their image")
        sound = {entry["name"] for entry in report["cases"]} - {fault["case"] for fault in faults}
        if len(sound) > 1:  # one to train on, one for the rewards
            advice.append("--skip_invalid true leaves such cases out")
        raise DatasetError(
            f"data set '{report['dataset']['name']}' has {count}{first} in case '{faults[0]['case']}':"
            f" {faults[0]['problem']}; {', or '.join(advice)}{place}."
        )


def as_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Faults or warnings of a report as lines of text, a line each."""
    width = max((len(row["case"]) for row in rows), default=0)
    return "\n".join(f"{row['case']:>{width}}  {row['problem']}" for row in rows)


def _verify_case(case: Case, dataset: MSDDataset, resample_label: bool) -> CheckedCase:
    """Everything that can be said of a case without the others."""
    checked = CheckedCase({"name": case.name})
    decoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for what, paths in (
        ("label", (case.label,)),
        ("image", case.images),
    ):  # the label is narrowed before the image comes
        try:
            decoded[what] = _decode(paths, what)
        except Fault as fault:
            checked.problems.insert(0, str(fault))
    if "image" in decoded:
        image, affine = decoded["image"]
        checked.entry["shape"] = [int(size) for size in image.shape[:3]]
        checked.entry["spacing"] = [float(size) for size in nib.affines.voxel_sizes(affine)]
        checked.entry["orientation"] = "".join(nib.orientations.aff2axcodes(affine))
        checked.digest = checked.entry["digest"] = image_digest(image)
        checked.problems += channel_faults(image.shape[3], dataset.in_channels, where="dataset.json declares")
        checked.problems += value_faults(image)
        skew = _skew(affine)
        if skew > _SKEW:
            checked.warnings.append(f"the axes of the image are not at right angles (cosine {skew:.3g})")
    if "label" in decoded:
        label, label_affine = decoded["label"]
        if "image" in decoded:
            try:
                label = on_image_grid(label, label_affine, image.shape[:3], affine)
            except Fault as fault:
                if resample_label and label.dtype.kind in "iufb":
                    label = on_image_grid(label, label_affine, image.shape[:3], affine, resample=True)
                    checked.warnings.append("the label is resampled to the grid of its image")
                elif not resample_label:
                    checked.problems.append(str(fault))
        ignored = dataset.ignore_label
        declared = (*dataset.labels, *(() if ignored is None else (ignored,)))
        label, counts, found = _count_labels(label, declared)
        checked.problems += found
        if ignored is not None and not found:
            checked.entry["ignored_voxels"] = counts.pop(ignored)
            label = np.where(label == ignored, 0, label)
        checked.entry["label_voxels"] = {str(value): count for value, count in counts.items()}
        if not found and not any(count for value, count in counts.items() if value != 0):
            checked.warnings.append("the label has no foreground voxel")
        if "image" in decoded and not checked.problems:
            checked.stats = case_stats(case.name, image=image, label=label, affine=affine, label_voxels=counts)
    return checked


def _skew(affine: np.ndarray) -> float:
    """Largest cosine between two axes of a volume; 0 for right angles."""
    axes = affine[:3, :3] / nib.affines.voxel_sizes(affine)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def _decode(paths: Sequence[Path], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, ``(X, Y, Z, C)`` of an image or ``(X, Y, Z)`` of a label, and the affine in mm."""
    try:
        data, affine = read_volume(paths, real=what == "image")
    except VolumeError as error:
        raise Fault(f"the {what} {error}") from error
    except Exception as error:  # whatever a broken file makes the reader or the decompressor raise
        words = " ".join(str(error).split())
        name = broken_file(error, paths).name
        raise Fault(f"the {what} file '{name}' cannot be read ({type(error).__name__}: {words})") from error
    if what == "label":
        data = narrowed(data)
    channels_last = data.ndim == 4 and (what == "image" or data.shape[3] == 1)
    if not (data.ndim == 3 or channels_last) or 0 in data.shape:
        expected = "(X, Y, Z) or (X, Y, Z, channels)" if what == "image" else "(X, Y, Z)"
        raise Fault(f"the {what} has shape {tuple(data.shape)} where {expected} is expected")
    for fault in affine_faults(affine, what=what):
        raise Fault(fault)
    if what == "image":
        if data.dtype.kind == "c":
            raise Fault("the image has complex values")
        if 1 in data.shape[:3]:
            raise Fault(f"the image has shape {tuple(data.shape)}, a single slice where a volume is expected")
        return data.reshape(*data.shape[:3], -1), affine
    return data.reshape(data.shape[:3]), affine


def _count_labels(label: np.ndarray, declared: tuple[int, ...]) -> tuple[np.ndarray, dict[int, int], list[str]]:
    """The label as whole numbers, the voxel count of every value found or declared, and the faults."""
    counts = dict.fromkeys(declared, 0)
    try:
        label = whole_numbers(label)
    except Fault as fault:
        return label, counts, [str(fault)]
    if label.min() >= 0 and label.max() < 2**16:
        found = {value: int(n) for value, n in enumerate(_bincount(label.ravel(order="K"))) if n}
    else:
        found = {int(value): int(n) for value, n in zip(*np.unique(label, return_counts=True), strict=True)}
    problems = undeclared_faults(found, declared, where=_UNDECLARED)
    return label, counts if problems and len(found) >= _MANY else {**counts, **found}, problems


def _bincount(values: np.ndarray) -> np.ndarray:
    """``np.bincount``, which makes 8 bytes of every value, piece by piece."""
    length = int(values.max()) + 1
    counts = [np.bincount(piece.astype(np.int64, copy=False), minlength=length) for piece in pieces(values)]
    return np.sum(counts, axis=0)

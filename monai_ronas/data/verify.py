# SPDX-License-Identifier: Apache-2.0
"""Verification of a data set: every file is decoded once and all faults are reported together."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from monai_ronas.data.checked import CheckedCase, check_duplicates, check_spacings, times
from monai_ronas.data.errors import DatasetError
from monai_ronas.data.memo import VerificationMemo, case_key
from monai_ronas.data.msd import Case, MSDDataset
from monai_ronas.data.sizes import bounded_workers, case_values
from monai_ronas.data.stats import CaseStats, case_stats
from monai_ronas.utils import write_atomically

AFFINE_TOLERANCE = 1e-3
"""Largest accepted difference between the affines of image and label, per matrix entry (mm)."""

LARGEST_VALUE = 1e15
"""Largest accepted absolute value of a voxel: squares of larger ones are lost in float32."""

_VERSION = 1  # of the checks; another one makes what is remembered void
_BYTES_PER_VALUE = 8  # of memory, at the peak of a check
_MOST_WORKERS = 8
_OTHER_GRID = "the label has another grid than the image"
_SKEW = 1e-3  # of the cosine between two axes of a volume
logger = logging.getLogger(__name__)


class _Fault(Exception):
    """A fault that makes the further checks of a case pointless."""


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
    (``SPACING_RANGE``), different shapes or affines (more than :data:`AFFINE_TOLERANCE`) of image and label, label
    values that are not declared or not whole numbers. Warnings: a label without foreground, axes that are not at right
    angles.

    Args:
        dataset: the data set, as read by :func:`monai_ronas.data.read_msd`.
        workers: number of threads; ``None`` for one per CPU core, at most 8 and no more than the memory allows.
        resample_label: a label on another grid than its image is no fault: it will be resampled.
        memo: file in which what was found in sound cases is remembered; such a case is not read again while path, size
            and time of modification of its files stay.

    Returns:
        The report, a JSON-able dict with the keys ``dataset`` (summary), ``cases`` (name, shape, spacing in mm,
        orientation codes, label voxel counts; geometry in file order), ``faults`` and ``warnings`` (both lists of
        ``{"case", "problem"}``), and the statistics of the cases without fault, sorted by name.
    """
    known = VerificationMemo(memo)
    settings = [_VERSION, sorted(dataset.labels), dataset.in_channels, resample_label]

    def verified(case: Case) -> CheckedCase:
        key = case_key(case, settings)
        checked = known.get(key)
        if checked is None:
            checked = _verify_case(case, dataset, resample_label)
            known.add(key, checked)
        return checked

    unread = [case for case in dataset.cases if case_key(case, settings) not in known]
    most = bounded_workers([case_values(case) for case in unread], bytes_per_value=_BYTES_PER_VALUE, most=_MOST_WORKERS)
    with ThreadPoolExecutor(workers or most) as pool:
        results = list(pool.map(verified, dataset.cases))
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
        },
        "cases": [found.entry for found in results],
        "faults": listed + [{"case": c.entry["name"], "problem": text} for c in results for text in c.problems],
        "warnings": [{"case": c.entry["name"], "problem": text} for c in results for text in c.warnings],
    }
    return report, [found.stats for found in results if found.stats is not None and not found.problems]


def write_report(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report of :func:`verify_dataset` as JSON.

    Args:
        report: the report.
        path: file to write; its folder is made if needed.
    """
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
        grids = any(fault["problem"].startswith(_OTHER_GRID) for fault in faults)
        flags = "--resample_label true resamples labels to the grid of their image, " if grids else ""
        raise DatasetError(
            f"data set '{report['dataset']['name']}' has {count}{first} in case '{faults[0]['case']}':"
            f" {faults[0]['problem']}; correct it, or {flags}--skip_invalid true leaves such cases out{place}."
        )


def as_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Faults or warnings of a report as lines of text, a line each."""
    width = max((len(row["case"]) for row in rows), default=0)
    return "\n".join(f"{row['case']:>{width}}  {row['problem']}" for row in rows)


def _verify_case(case: Case, dataset: MSDDataset, resample_label: bool) -> CheckedCase:
    """Everything that can be said of a case without the others."""
    checked = CheckedCase({"name": case.name})
    decoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for what, path in (("image", case.image), ("label", case.label)):
        try:
            decoded[what] = _decode(path, what)
        except _Fault as fault:
            checked.problems.append(str(fault))
    if "image" in decoded:
        image, affine = decoded["image"]
        checked.entry["shape"] = [int(size) for size in image.shape[:3]]
        checked.entry["spacing"] = [float(size) for size in nib.affines.voxel_sizes(affine)]
        checked.entry["orientation"] = "".join(nib.orientations.aff2axcodes(affine))
        checked.digest = _digest(image)
        checked.problems += _image_problems(image, dataset.in_channels)
        skew = _skew(affine)
        if skew > _SKEW:
            checked.warnings.append(f"the axes of the image are not at right angles (cosine {skew:.3g})")
    if "label" in decoded:
        label, label_affine = decoded["label"]
        if "image" in decoded:
            problems = _geometry_problems(image, label, affine, label_affine)
            if problems and resample_label:
                label = _resampled(label, label_affine, image.shape[:3], affine)
                checked.warnings.append("the label is resampled to the grid of its image")
            else:
                checked.problems += problems
        label, counts, found = _count_labels(label, tuple(dataset.labels))
        checked.problems += found
        checked.entry["label_voxels"] = {str(value): count for value, count in counts.items()}
        if not found and not any(count for value, count in counts.items() if value != 0):
            checked.warnings.append("the label has no foreground voxel")
        if "image" in decoded and not checked.problems:
            checked.stats = case_stats(case.name, image=image, label=label, affine=affine, label_voxels=counts)
    return checked


def _digest(image: np.ndarray) -> str:
    """The same for the same image; of voxels in the order of the file, which needs no copy of them."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image.T).data)
    return digest.hexdigest()


def _skew(affine: np.ndarray) -> float:
    """Largest cosine between two axes of a volume; 0 for right angles."""
    axes = affine[:3, :3] / nib.affines.voxel_sizes(affine)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def _resampled(label: np.ndarray, affine: np.ndarray, shape: Sequence[int], target: np.ndarray) -> np.ndarray:
    """The label on the image's grid, by the nearest voxel."""
    if label.dtype.kind not in "iufb":
        return label  # refused later, for its type
    values = label.astype(np.float64) if label.dtype.itemsize == 8 or label.dtype.kind == "b" else label
    moved = resample_from_to(nib.Nifti1Image(values, affine), (tuple(shape), target), order=0)
    return np.asanyarray(moved.dataobj)


def _decode(path: Path, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, ``(X, Y, Z, C)`` of an image or ``(X, Y, Z)`` of a label, and the affine in mm."""
    try:
        file: Any = nib.load(path)
        affine = np.asarray(file.affine, dtype=np.float64)
        kind = file.get_data_dtype().kind
        data = file.get_fdata(dtype=np.float32) if what == "image" and kind != "c" else np.asanyarray(file.dataobj)
    except Exception as error:  # whatever a broken file makes the reader or the decompressor raise
        words = " ".join(str(error).split())
        raise _Fault(f"the {what} file '{path.name}' cannot be read ({type(error).__name__}: {words})") from error
    channels_last = data.ndim == 4 and (what == "image" or data.shape[3] == 1)
    if not (data.ndim == 3 or channels_last) or 0 in data.shape:
        expected = "(X, Y, Z) or (X, Y, Z, channels)" if what == "image" else "(X, Y, Z)"
        raise _Fault(f"the {what} has shape {tuple(data.shape)} where {expected} is expected")
    sizes = nib.affines.voxel_sizes(affine)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= 1e-3 * sizes.prod():
        raise _Fault(f"the {what} has an affine that cannot be inverted, with voxels of {times(sizes)} mm")
    if what == "image":
        if kind == "c":
            raise _Fault("the image has complex values")
        if 1 in data.shape[:3]:
            raise _Fault(f"the image has shape {tuple(data.shape)}, a single slice where a volume is expected")
        return data.reshape(*data.shape[:3], -1), affine
    return data.reshape(data.shape[:3]), affine


def _image_problems(image: np.ndarray, in_channels: int) -> list[str]:
    problems = []
    if image.shape[3] != in_channels:
        problems.append(
            f"the image has {image.shape[3]} channel(s), or moments of time, where dataset.json declares {in_channels}"
        )
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        problems.append(f"the image holds {bad} NaN or infinite value(s)")
    elif max(-image.min(), image.max()) > LARGEST_VALUE:
        largest = max(image.min(), image.max(), key=abs)
        problems.append(f"the image holds {largest:g}, perhaps a mark for no data: replace it (accepted: 1e15)")
    elif image.min() == image.max():
        problems.append(f"the image has the same value, {float(image.min()):g}, everywhere")
    return problems


def _geometry_problems(
    image: np.ndarray, label: np.ndarray, image_affine: np.ndarray, label_affine: np.ndarray
) -> list[str]:
    if image.shape[:3] != label.shape:
        return [f"{_OTHER_GRID}: {tuple(label.shape)} voxels, the image {tuple(image.shape[:3])}"]
    difference = float(np.abs(image_affine - label_affine).max())
    if difference > AFFINE_TOLERANCE:
        return [f"{_OTHER_GRID}: the affines differ by {difference:.4g} (accepted: {AFFINE_TOLERANCE:g})"]
    return []


def _count_labels(label: np.ndarray, declared: tuple[int, ...]) -> tuple[np.ndarray, dict[int, int], list[str]]:
    """The label as whole numbers, the voxel count of every value found or declared, and the faults."""
    counts = dict.fromkeys(declared, 0)
    if not np.issubdtype(label.dtype, np.number) or np.issubdtype(label.dtype, np.complexfloating):
        return label, counts, [f"the label has values of type {label.dtype}, not whole numbers"]
    if not np.issubdtype(label.dtype, np.integer):
        bad = label.size - int(np.count_nonzero(np.isfinite(label)))
        if bad:
            return label, counts, [f"the label holds {bad} NaN or infinite value(s)"]
        fractional = label[label != np.rint(label)]
        if fractional.size:
            text = f"the label holds {fractional.size} value(s) that are not whole numbers, such as {fractional[0]:g}"
            return label, counts, [text]
        label = label.astype(np.int64)
    if label.min() >= 0 and label.max() < 2**16:
        found = {value: int(n) for value, n in enumerate(_bincount(label.ravel(order="K"))) if n}
    else:
        found = {int(value): int(n) for value, n in zip(*np.unique(label, return_counts=True), strict=True)}
    undeclared = sorted(set(found) - set(declared))
    problems = []
    if undeclared:
        shown = ", ".join(map(str, undeclared[:5])) + (", ..." if len(undeclared) > 5 else "")
        allowed = ", ".join(map(str, declared))
        problems.append(f"the label holds {shown}, which dataset.json does not declare (declared: {allowed})")
    return label, {**counts, **found} if len(found) < 256 else counts, problems


def _bincount(values: np.ndarray) -> np.ndarray:
    """``np.bincount``, which makes 8 bytes of every value, piece by piece."""
    length = int(values.max()) + 1
    pieces = (values[start : start + 2**22] for start in range(0, values.size, 2**22))
    return np.sum([np.bincount(piece, minlength=length) for piece in pieces], axis=0)

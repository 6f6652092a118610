# SPDX-License-Identifier: Apache-2.0
"""Verification of a data set: every file is decoded once and all faults are reported together."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_ronas.data.errors import DatasetError
from monai_ronas.data.msd import Case, MSDDataset
from monai_ronas.data.stats import CaseStats, case_stats

AFFINE_TOLERANCE = 1e-3
"""Largest accepted difference between the affines of image and label, per matrix entry (mm)."""


class _Fault(Exception):
    """A fault that makes the further checks of a case pointless."""


def verify_dataset(dataset: MSDDataset, *, workers: int | None = None) -> tuple[dict[str, Any], list[CaseStats]]:
    """Decode every image and label once, report all faults and collect the statistics of the sound cases.

    Faults: unreadable or truncated files, a wrong number of dimensions, a channel count that contradicts
    ``dataset.json``, NaN or infinite values, an image of one constant value, different shapes or affines (more than
    :data:`AFFINE_TOLERANCE`) of image and label, label values that are not declared or not whole numbers. A label
    without foreground is a warning.

    Args:
        dataset: the data set, as read by :func:`monai_ronas.data.read_msd`.
        workers: number of threads; ``None`` for one per CPU core, at most 8.

    Returns:
        The report, a JSON-able dict with the keys ``dataset`` (summary), ``cases`` (name, shape, spacing in mm,
        orientation codes, label voxel counts; geometry in file order), ``faults`` and ``warnings`` (both lists of
        ``{"case", "problem"}``), and the statistics of the cases without fault, sorted by name.
    """
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda case: _verify_case(case, dataset), dataset.cases))
    report = {
        "dataset": {
            "name": dataset.name,
            "description": dataset.description,
            "licence": dataset.licence,
            "modality": {str(key): name for key, name in dataset.modality.items()},
            "labels": {str(key): name for key, name in dataset.labels.items()},
            "num_cases": len(dataset.cases),
        },
        "cases": [entry for entry, _, _, _ in results],
        "faults": [fault for _, faults, _, _ in results for fault in faults],
        "warnings": [warning for _, _, warnings, _ in results for warning in warnings],
    }
    return report, [stats for _, _, _, stats in results if stats is not None]


def write_report(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report of :func:`verify_dataset` as JSON.

    Args:
        report: the report.
        path: file to write; its folder is made if needed.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def raise_for_faults(report: Mapping[str, Any], *, report_path: str | os.PathLike[str] | None = None) -> None:
    """Raise if a report holds faults.

    Args:
        report: the report of :func:`verify_dataset`.
        report_path: where the full report was written, to be named in the message.

    Raises:
        DatasetError: one sentence with the number of faults, the first one and the place of the full report.
    """
    faults = report["faults"]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        first = "" if len(faults) == 1 else ", the first"
        place = f"; the full report is in '{report_path}'" if report_path is not None else ""
        raise DatasetError(
            f"data set '{report['dataset']['name']}' has {count}{first} in case '{faults[0]['case']}':"
            f" {faults[0]['problem']}{place}."
        )


def _verify_case(
    case: Case, dataset: MSDDataset
) -> tuple[dict[str, Any], list[dict[str, str]], list[dict[str, str]], CaseStats | None]:
    """Entry of the report, faults, warnings and, if there is no fault, statistics of one case."""
    entry: dict[str, Any] = {"name": case.name}
    problems: list[str] = []
    warnings: list[str] = []
    stats = None
    decoded: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for what, path in (("image", case.image), ("label", case.label)):
        try:
            decoded[what] = _decode(path, what)
        except _Fault as fault:
            problems.append(str(fault))
    if "image" in decoded:
        image, affine = decoded["image"]
        entry["shape"] = [int(size) for size in image.shape[:3]]
        entry["spacing"] = [float(size) for size in nib.affines.voxel_sizes(affine)]
        entry["orientation"] = "".join(nib.orientations.aff2axcodes(affine))
        problems += _image_problems(image, dataset.in_channels)
    if "label" in decoded:
        label, counts, found = _count_labels(decoded["label"][0], tuple(dataset.labels))
        problems += found
        entry["label_voxels"] = {str(value): count for value, count in counts.items()}
        if not found and not any(count for value, count in counts.items() if value != 0):
            warnings.append("the label has no foreground voxel")
        if "image" in decoded:
            problems += _geometry_problems(image, label, affine, decoded["label"][1])
            if not problems:
                stats = case_stats(case.name, image=image, label=label, affine=affine, label_voxels=counts)

    def tag(texts: list[str]) -> list[dict[str, str]]:
        return [{"case": case.name, "problem": text} for text in texts]

    return entry, tag(problems), tag(warnings), stats


def _decode(path: Path, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, ``(X, Y, Z, C)`` of an image or ``(X, Y, Z)`` of a label, and the affine in mm."""
    try:
        file: Any = nib.load(path)
        affine = np.asarray(file.affine, dtype=np.float64)
        data = file.get_fdata(dtype=np.float32) if what == "image" else np.asanyarray(file.dataobj)
    except Exception as error:  # whatever a broken file makes the reader or the decompressor raise
        raise _Fault(f"the {what} file '{path.name}' cannot be read ({type(error).__name__}: {error})") from error
    channels_last = data.ndim == 4 and (what == "image" or data.shape[3] == 1)
    if not (data.ndim == 3 or channels_last) or 0 in data.shape:
        expected = "(X, Y, Z) or (X, Y, Z, channels)" if what == "image" else "(X, Y, Z)"
        raise _Fault(f"the {what} has shape {tuple(data.shape)} where {expected} is expected")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _Fault(f"the {what} has an affine that cannot be inverted")
    if what == "image":
        return data.reshape(*data.shape[:3], -1), affine
    return data.reshape(data.shape[:3]), affine


def _image_problems(image: np.ndarray, in_channels: int) -> list[str]:
    problems = []
    if image.shape[3] != in_channels:
        problems.append(f"the image has {image.shape[3]} channel(s) where dataset.json declares {in_channels}")
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        problems.append(f"the image holds {bad} NaN or infinite value(s)")
    elif image.min() == image.max():
        problems.append(f"the image has the same value, {float(image.min()):g}, everywhere")
    return problems


def _geometry_problems(
    image: np.ndarray, label: np.ndarray, image_affine: np.ndarray, label_affine: np.ndarray
) -> list[str]:
    if image.shape[:3] != label.shape:
        return [f"the image has shape {tuple(image.shape[:3])} and the label {tuple(label.shape)}"]
    difference = float(np.abs(image_affine - label_affine).max())
    if difference > AFFINE_TOLERANCE:
        return [f"the affines of image and label differ by {difference:.4g} (accepted: {AFFINE_TOLERANCE:g})"]
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
        found = {value: int(n) for value, n in enumerate(np.bincount(label.ravel(order="K"))) if n}
    else:
        found = {int(value): int(n) for value, n in zip(*np.unique(label, return_counts=True), strict=True)}
    undeclared = sorted(set(found) - set(declared))
    problems = []
    if undeclared:
        shown = ", ".join(map(str, undeclared[:5])) + (", ..." if len(undeclared) > 5 else "")
        allowed = ", ".join(map(str, declared))
        problems.append(f"the label holds {shown}, which dataset.json does not declare (declared: {allowed})")
    return label, {**counts, **found} if len(found) < 256 else counts, problems

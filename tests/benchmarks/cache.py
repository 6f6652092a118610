# SPDX-License-Identifier: Apache-2.0
"""Resident memory by number of cases, and a training step's time, with cases on the disk and in memory.

    python -m tests.benchmarks.cache --output cache.json

Magnified phantoms; every row in a process of its own. In "disk, cold" the file of the case is dropped from the file
system's cache before every read, as where the data set is much larger than the memory (Linux only). "read" is a
case's item and its crops, "step" a step of our base network with it. Prints a table and writes it as JSON.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import torch

from monai_ronas.data import build_dataset, build_preprocessing, fingerprint_dataset, read_msd, verify_dataset
from monai_ronas.data.phantom_case import LABELS, make_phantom_case
from monai_ronas.engines import PatchBatch
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.space import RonasSpace
from tests.benchmarks.step import Trainee

KINDS = ("memory", "disk", "disk, cold")


def write_cases(root, number, size):
    """A data set of phantoms of 1/4 of the size along each axis, magnified, with noise of their own."""
    entries = []
    for index in range(number):
        rng = np.random.default_rng(index)
        volumes = make_phantom_case(rng, size=[length // 4 for length in size])
        image, label = (np.repeat(np.repeat(np.repeat(v, 4, 0), 4, 1), 4, 2) for v in volumes)
        image = image + rng.integers(0, 20, image.shape, dtype=np.int16)
        entry = {}
        for key, volume in (("image", image), ("label", label)):
            (root / f"{key}sTr").mkdir(parents=True, exist_ok=True)
            entry[key] = f"{key}sTr/case_{index:03d}.nii"
            nib.save(nib.Nifti1Image(volume, np.eye(4)), root / entry[key])
        entries.append(entry)
    names = {str(value): name for value, name in enumerate(LABELS)}
    content = {"name": "Large", "modality": {"0": "MRI"}, "labels": names, "training": entries}
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def drop_from_cache(file):
    """Make the next read of a file come from the disk."""
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def measure(kind, number, folder, steps, patch, answer):
    """Resident memory and times of one kind of data set."""
    torch.manual_seed(0)
    declared = read_msd(folder / "set")
    _, stats = verify_dataset(declared, memo=folder / "memo")
    transform = build_preprocessing(fingerprint_dataset(declared, stats))
    cases = declared.cases[:number]
    shape = [min(case.shape[axis] for case in stats) for axis in range(3)]
    channels = (8, 16, 32, 64)
    space = RonasSpace(patch)
    batch = PatchBatch(RonasSuperNet(space, 1, len(LABELS), channels=channels), batch_size=2)
    trainee = Trainee(RonasUNet(3, 1, len(LABELS), channels=channels), device="cpu", amp=False)
    process = psutil.Process()
    before = process.memory_info().rss
    data = build_dataset(cases, transform, cache_dir=None if kind == "memory" else folder / "cache")
    draw, reads, times, resident = random.Random(0), [], [], []
    for step in range(steps + 2):
        chosen = [draw.randrange(number) for _ in range(2)]
        if kind == "disk, cold":
            for index in chosen:
                drop_from_cache(data.files[index])
        start = time.perf_counter()
        image, label = batch([data[index] for index in chosen], device="cpu")
        middle = time.perf_counter()
        trainee.step(image, label)
        if step > 1:
            reads.append(middle - start)
            times.append(time.perf_counter() - start)
            resident.append(process.memory_info().rss - before)
    answer.put(
        {
            "cases": number,
            "kind": kind,
            "voxels": "x".join(map(str, shape)),
            "resident_mb": max(resident) / 2**20,
            "read_ms": 1000 * statistics.median(reads),
            "step_ms": 1000 * statistics.median(times),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[256, 256, 128], help="mean voxels per axis")
    parser.add_argument("--numbers", type=int, nargs="+", default=[4, 12, 36])
    parser.add_argument("--patch", type=int, nargs=3, default=[96, 96, 64])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="runs of every kind, taking turns")
    parser.add_argument("--folder", type=Path, help="where data and cache are written; default: a temporary one")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_cases(folder / "set", max(given.numbers), given.size)
        start = multiprocessing.get_context("spawn")
        rows = []
        print(f"{'cases':>5} {'kind':>10} {'resident MB':>12} {'read ms':>8} {'step ms':>8} {'step / memory':>13}")
        measured = (folder, given.steps, given.patch)
        run_alone(start, "disk", max(given.numbers), *measured)  # makes all the files
        for number in given.numbers:
            runs = [run_alone(start, kind, number, *measured) for _ in range(given.repeats) for kind in KINDS]
            for kind in KINDS:
                of_kind = [row for row in runs if row["kind"] == kind]
                middle = {key: statistics.median(row[key] for row in of_kind) for key in ("read_ms", "step_ms")}
                rows.append({**of_kind[0], **middle, "resident_mb": max(row["resident_mb"] for row in of_kind)})
                row, base = rows[-1], next(r for r in rows if r["cases"] == number and r["kind"] == "memory")
                row["ratio"] = row["step_ms"] / base["step_ms"]
                print(
                    f"{number:>5} {kind:>10} {row['resident_mb']:>12.0f} {row['read_ms']:>8.1f} {row['step_ms']:>8.0f}"
                    f" {row['ratio']:>13.2f}",
                    flush=True,
                )
    given.output.write_text(json.dumps({"size": given.size, "patch": given.patch, "rows": rows}, indent=1) + "\n")


def run_alone(start, *arguments):
    """``measure`` in a process of its own, which has no other's memory."""
    answer = start.Queue()
    process = start.Process(target=measure, args=(*arguments, answer))
    process.start()
    row = answer.get()
    process.join()
    return row


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Resident memory by number of cases, and a training step's time, with cases on the disk and in memory.

    python -m tests.benchmarks.cache --output cache.json

Magnified phantoms. The memory of each number of cases is that of a process of its own, after crops of all of them were
read. The steps of our base network take turns in one process: crops of the same two cases from memory, from the disk
and from the disk where the file system has forgotten the files ("disk, cold", Linux only), as where the data set is
much larger than the memory. Prints tables and writes them as JSON.
"""

import argparse
import gc
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
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
CHANNELS = (8, 16, 32, 64)


def write_cases(root, number, size, *, modality="MRI", suffix=".nii", spacings=((1.0, 1.0, 1.0),)):
    """A data set of phantoms of 1/4 of the size along each axis, magnified, with noise of their own.

    ``spacings`` in mm, axis by axis, are given to the cases in turn.
    """
    entries = []
    for index in range(number):
        rng = np.random.default_rng(index)
        volumes = make_phantom_case(rng, size=[length // 4 for length in size])
        image, label = (np.repeat(np.repeat(np.repeat(v, 4, 0), 4, 1), 4, 2) for v in volumes)
        image = image + rng.integers(0, 20, image.shape, dtype=np.int16)
        entry = {}
        for key, volume in (("image", image), ("label", label)):
            (root / f"{key}sTr").mkdir(parents=True, exist_ok=True)
            entry[key] = f"{key}sTr/case_{index:03d}{suffix}"
            affine = np.diag([*spacings[index % len(spacings)], 1.0])
            nib.save(nib.Nifti1Image(volume, affine), root / entry[key])
        entries.append(entry)
    names = {str(value): name for value, name in enumerate(LABELS)}
    content = {"name": "Large", "modality": {"0": modality}, "labels": names, "training": entries}
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def drop_from_cache(file):
    """Make the next read of a file come from the disk."""
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def prepare(folder):
    """The cases of the benchmark's data set and their preprocessing."""
    declared = read_msd(folder / "set")
    _, stats = verify_dataset(declared, memo=folder / "memo")
    return declared.cases, build_preprocessing(fingerprint_dataset(declared, stats))


def cutter(patch):
    """Batches of two crops."""
    return PatchBatch(RonasSuperNet(RonasSpace(patch), 1, len(LABELS), channels=CHANNELS), batch_size=2)


def resident(kind, number, folder, patch):
    """Bytes that a process has after it has read crops of all cases, beyond those it had before."""
    cases, transform = prepare(folder)
    batch = cutter(patch)
    for warm in (True, False):
        gc.collect()
        before = psutil.Process().memory_info().rss
        listed = cases[:1] if warm else cases[:number]
        data = build_dataset(listed, transform, cache_dir=None if kind == "memory" else folder / "cache")
        for index in range(len(data)):
            batch([data[index]], device="cpu")
    return psutil.Process().memory_info().rss - before


def steps(number, folder, patch, repeats):
    """Milliseconds of reading two cases' crops, and of whole steps with them, by kind."""
    torch.manual_seed(0)
    cases, transform = prepare(folder)
    kept = build_dataset(cases[:number], transform)
    stored = build_dataset(cases[:number], transform, cache_dir=folder / "cache")
    batches = {kind: cutter(patch) for kind in KINDS}
    trainee = Trainee(RonasUNet(3, 1, len(LABELS), channels=CHANNELS), device="cpu", amp=False)
    draw, times = random.Random(0), {kind: {"read": [], "step": []} for kind in KINDS}
    for turn in range(repeats + 2):
        chosen = [draw.randrange(number) for _ in range(2)]
        for kind, batch in batches.items():
            data = kept if kind == "memory" else stored
            for index in chosen if kind == "disk, cold" else ():
                drop_from_cache(data.files[index])
            start = time.perf_counter()
            image, label = batch([data[index] for index in chosen], device="cpu")
            read = time.perf_counter() - start
            trainee.step(image, label)
            if turn > 1:
                times[kind]["read"].append(1000 * read)
                times[kind]["step"].append(1000 * (time.perf_counter() - start))
    return {kind: {what: statistics.median(ms) for what, ms in of.items()} for kind, of in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[256, 256, 128], help="mean voxels per axis")
    parser.add_argument("--numbers", type=int, nargs="+", default=[4, 12, 36])
    parser.add_argument("--patch", type=int, nargs=3, default=[96, 96, 64])
    parser.add_argument("--repeats", type=int, default=15, help="steps of each kind")
    parser.add_argument("--folder", type=Path, help="where data and cache are written; default: a temporary one")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_cases(folder / "set", max(given.numbers), given.size)
        report = {"size": given.size, "patch": given.patch, "resident_mb": {}}
        alone(resident, "disk", max(given.numbers), folder, given.patch)  # makes all the files
        report["stored_mb"] = sum(file.stat().st_size for file in (folder / "cache").iterdir()) / 2**20
        print(f"{max(given.numbers)} cases take {report['stored_mb']:.0f} MB on the disk")
        print("resident MB " + "".join(f"{number:>6} cases" for number in given.numbers))
        for kind in ("memory", "disk"):
            row = [alone(resident, kind, number, folder, given.patch) / 2**20 for number in given.numbers]
            report["resident_mb"][kind] = dict(zip(map(str, given.numbers), row, strict=True))
            print(f"{kind:>11} " + "".join(f"{value:>12.0f}" for value in row), flush=True)
        report["ms"] = alone(steps, min(given.numbers), folder, given.patch, given.repeats)
    print(f"{'':>11} {'read ms':>8} {'step ms':>8} {'step / memory':>14}")
    for kind, ms in report["ms"].items():
        ms["ratio"] = ms["step"] / report["ms"]["memory"]["step"]
        print(f"{kind:>11} {ms['read']:>8.1f} {ms['step']:>8.0f} {ms['ratio']:>14.2f}")
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def alone(function, *arguments):
    """Call a function in a process of its own, which has no other's memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()

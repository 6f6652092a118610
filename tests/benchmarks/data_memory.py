# SPDX-License-Identifier: Apache-2.0
"""Peak of the resident memory of verification and of preprocessing, each in a process of its own.

    python -m tests.benchmarks.data_memory --folder BIG --output data_memory.json [--size 512 512 400] [--cases 2]

Magnified phantoms as compressed CT of two spacings, so that every case is resampled. They are made in ``BIG/set``
unless they are there. Prints the peak, the seconds and the bytes a voxel of a case beyond what the process has with the
package imported, and writes them as JSON.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.cache import prepare, write_cases

SEARCH = Path(__file__).parents[2] / "bundles" / "ronas" / "configs" / "search.json"
OWN = "tests.benchmarks.data_memory"


def measured(command):
    """Peak of the resident memory of a command in bytes, and its seconds."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {' '.join(map(str, command))}")
    return 1024 * usage.ru_maxrss, time.perf_counter() - begin


def preprocess(folder):
    """Write the preprocessed cases; what the verification found must be remembered."""
    from monai_ronas.data import build_dataset

    cases, transform = prepare(folder)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        build_dataset(cases, transform, cache_dir=cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 400], help="mean voxels per axis")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=("import", "remember", "preprocess"), help="the work of one process")
    given = parser.parse_args()
    if given.only is not None:
        if given.only != "import":
            (prepare if given.only == "remember" else preprocess)(given.folder)
        return
    if not (given.folder / "set" / "dataset.json").exists():
        spacings = ((0.8, 0.8, 1.0), (0.75, 0.75, 1.1))
        write_cases(given.folder / "set", given.cases, given.size, modality="CT", suffix=".nii.gz", spacings=spacings)
    own = [sys.executable, "-m", OWN, "--folder", given.folder, "--only"]
    with tempfile.TemporaryDirectory(dir=given.folder) as output:
        verify = [sys.executable, "-m", "monai.bundle", "run", "verify", "--config_file", SEARCH]
        verify += ["--dataset_dir", given.folder / "set", "--output_dir", output, "--fold", "null", "--num_folds", "2"]
        commands = {"import": [*own, "import"], "run verify": verify}
        found = {name: measured(command) for name, command in commands.items()}
    measured([*own, "remember"])
    found["preprocessing"] = measured([*own, "preprocess"])
    (given.folder / "memo").unlink(missing_ok=True)
    report = {}
    voxels = math.prod(given.size)
    print(f"{given.cases} cases of {given.size}   peak GB   seconds   bytes a voxel of a case")
    for name, (peak, seconds) in found.items():
        row = {"peak_gb": peak / 2**30, "seconds": seconds, "bytes_a_voxel": (peak - found["import"][0]) / voxels}
        report[name] = row
        print(f"{name:>27}{row['peak_gb']:>10.2f}{seconds:>10.0f}{row['bytes_a_voxel']:>10.1f}", flush=True)
    if given.output is not None:
        given.output.write_text(json.dumps({"size": given.size, "found": report}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

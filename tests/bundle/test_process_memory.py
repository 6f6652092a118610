# SPDX-License-Identifier: Apache-2.0
"""The memory of a process in which a bundle segments, against the budget that it was exported for."""

import functools
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_ronas.bundle import BundleExporter
from monai_ronas.data import make_phantom_dataset, open_study
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore, SearchResult

BUDGET = 0.25  # GiB
SIZES = {"channels": (8, 12, 16), "in_channels": 1}
PATCH = (64, 64, 64)
BESIDE = 0.06  # GiB for what a budget does not count: the volume, before and after, and the convolutions' workspace
MEASURE = """
import sys
from pathlib import Path
from monai.bundle import ConfigWorkflow

def memory(key):  # MiB
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

bundle, output, small, large, most = sys.argv[1:]
for path in (small, large):  # what a first run loads is no part of the measure
    changes = {"bundle_root": bundle, "output_dir": output, "datalist": [path], "device": "cpu"}
    if int(most):
        changes["inferer#max_voxels"] = int(most)
    config = f"{bundle}/configs/inference.json"
    workflow = ConfigWorkflow(config, logging_file=False, workflow_type="inference", **changes)
    workflow.initialize()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    workflow.run()
print(memory("VmHWM") - before)
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read as Linux tells it")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle exported for the budget, and the voxels of the largest volume that it segments in one shot."""
    root = tmp_path_factory.mktemp("bundle")
    data = make_phantom_dataset(root / "data", num_cases=6, size=(28, 32, 20))
    study = open_study(data, root, fold=0, num_folds=5, reward_fraction=0.3, seed=0)
    torch.manual_seed(0)
    space = RonasSpace(PATCH, study.fingerprint.target_spacing, stages=3)
    classes = study.fingerprint.out_channels
    network = RonasSuperNet(space, 1, classes, channels=SIZES["channels"]).eval()
    costs = ResourceEstimator(space, **SIZES, out_channels=classes, memory_gb=BUDGET)
    result = SearchResult(space.base, ChildScore(0.5, (0.5,), seconds=1.0, peak_memory_mb=1.0), case_names=("a",))
    limit = functools.partial(costs.one_shot_voxels, BUDGET)
    exporter = BundleExporter(
        *(root / "exported", study, network),
        one_shot_voxels=limit,
        crops=lambda a: 2,
        amp=False,
        result_gb=functools.partial(costs.result_gb, BUDGET),
    )
    return exporter.run(result, seconds=1.0), limit(space.base), study.fingerprint.target_spacing


def volume(path, voxels, spacing):
    """A cube of noise of so many voxels at most, an even number a side."""
    side = int(voxels ** (1 / 3)) // 4 * 4
    values = np.random.default_rng(0).normal(size=(side,) * 3).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
    return path


def measured_gb(bundle, folder, voxels, *, most=0):
    """GiB that the process needs for a volume of so many voxels beside what it has before, imports and weights."""
    root, _, spacing = bundle
    paths = volume(folder / "small.nii", 20**3, spacing), volume(folder / "large.nii", voxels, spacing)
    words = [sys.executable, "-c", MEASURE, *map(str, (root, folder / "out", *paths, most))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((folder / "out").rglob("large*"))
    return float(done.stdout.strip().splitlines()[-1]) / 1024


@pytest.mark.parametrize("times", [1.0, 1.25])
def test_the_process_keeps_to_the_budget(bundle, tmp_path, times):
    """For the largest volume in one shot, and for one in windows."""
    limit = bundle[1]
    assert measured_gb(bundle, tmp_path, times * limit) <= BUDGET + BESIDE


def test_in_one_shot_a_larger_volume_exceeds_it(bundle, tmp_path):
    assert measured_gb(bundle, tmp_path, 1.6 * bundle[1], most=10**9) > BUDGET + BESIDE

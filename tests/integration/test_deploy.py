# SPDX-License-Identifier: Apache-2.0
"""The app of ``bundles/ronas/docs/deploy.md`` in an environment with MONAI Deploy's SDK."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monai_ronas.data.reading import read_volume
from tests.dicom_seg_reader import dice, labels_on_grid
from tests.volume_files import orthogonal, write_series

from .conftest import ROOT, run_bundle

RELEASED = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
PAGE = ROOT / "bundles" / "ronas" / "docs" / "deploy.md"


@pytest.fixture(scope="module")
def deploy_python():
    """Python of an environment with the SDK."""
    given = os.environ.get("RONAS_DEPLOY_PYTHON")
    if not given:
        pytest.skip("set RONAS_DEPLOY_PYTHON to the Python of an environment as bundles/ronas/docs/deploy.md makes it")
    return given


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path_factory.mktemp("app") / "app.py"
    path.write_text(script, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["released", "finished"])
def bundle(request):
    """The bundle that the repository carries, and one that a search has just left, each with a volume of its kind."""
    if request.param == "finished":
        folder = request.getfixturevalue("finished") / "ronas_segmentation"
        data = request.getfixturevalue("small_phantom")
    else:
        folder = RELEASED
        data = request.getfixturevalue("real_data")
    return folder, read_volume([min((data / "imagesTr").glob("*.nii.gz"))])[0]


def run_app(python, app, *words):
    command = [python, str(app), *map(str, words)]
    libraries = map(str, Path(python).parents[1].glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))
    path = os.pathsep.join([*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    environment = {**os.environ, "LD_LIBRARY_PATH": path}
    return subprocess.run(command, cwd=app.parent, env=environment, capture_output=True, text=True, check=False)


def segment_both(python, app, bundle, series, out):
    """DICOM SEG by the app, and NIfTI by ``inference.json``, of a series."""
    done = run_app(python, app, "--input", series, "--model", bundle / "models" / "model.ts", "--output", out)
    assert done.returncode == 0, done.stderr
    config = ("--config_file", str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle))
    done = run_bundle("run", *config, "--dataset_dir", str(series), "--output_dir", str(out / "nifti"))
    assert done.returncode == 0, done.stderr
    (written,) = out.glob("*.dcm")
    return written, out / "nifti" / f"{series.name}_seg.nii.gz"


def test_it_writes_what_inference_json_writes(deploy_python, app, bundle, tmp_path):
    """Of a series that is oblique and has pixels that are not square."""
    folder, voxels = bundle
    affine = orthogonal() @ np.diag([0.8, 0.75, 1 / 3, 1])  # about 1 x 1.125 x 1 mm
    scaled = np.rint(1000 * voxels / np.abs(voxels).max()).astype(np.int16)
    series = write_series(tmp_path / "mr", scaled, affine)
    written, nifti = segment_both(deploy_python, app, folder, series, tmp_path / "out")
    expected, grid = read_volume([nifti])
    found = labels_on_grid(written, expected.shape, grid)
    agreement = dice(found, expected)
    assert set(agreement) == set(np.unique(expected)) - {0}
    assert min(agreement.values()) > 0.999, agreement
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(written)))
    assert np.count_nonzero(frames) == np.count_nonzero(found)


def test_what_it_cannot_segment_is_told_in_a_sentence(deploy_python, app, real_data, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 500, (24, 24, 9)).astype(np.int16)
    series = write_series(tmp_path / "gap" / "mr", voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    (series / "007.dcm").unlink()  # the second along the volume
    for name in "ab":
        write_series(tmp_path / "two" / name, voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    for given, words in (
        (series, "1 slice(s) of the DICOM series are missing, the first after '000.dcm'"),
        (tmp_path / "two", "the input has 2 DICOM series to segment, not one: give one, or set RULES."),
    ):
        out = Path(tmp_path / f"out_{given.name}")
        done = run_app(
            deploy_python, app, "--input", given, "--model", RELEASED / "models" / "model.ts", "--output", out
        )
        assert done.returncode != 0
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ERROR: ")
        assert last.endswith(words)
        assert not list(out.glob("*.dcm"))

# SPDX-License-Identifier: Apache-2.0
"""The package as others install it: a wheel, away from the clone."""

import os
import re
import shutil
import subprocess
import sys

import pytest

import monai_ronas

from .conftest import ROOT, SMALL

TRACKED = ROOT / "bundles" / "ronas"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package, from a wheel that is built from a copy of the clone."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77: pip install monai-ronas[test]")
    copy, wheels, target = (tmp_path_factory.mktemp("wheel") / name for name in ("copy", "wheels", "target"))
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "output", "eval")
    for name in ("monai_ronas", "bundles/ronas"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    folders = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels))
    found = ("--no-deps", "--no-index", "--find-links", str(wheels), "--target", str(target))
    for command in ([*pip, "wheel", str(copy), *folders], [*pip, "install", *found, "monai-ronas"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return target


def run(installed, cwd, *words):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_the_version_and_the_typing_mark(installed):
    assert (installed / f"monai_ronas-{monai_ronas.__version__}.dist-info").is_dir()
    assert (installed / "monai_ronas" / "py.typed").exists()
    assert not (installed / "tests").exists()
    assert not (installed / "monai_ronas" / "bundle" / "ronas").is_symlink()


def test_the_wheel_gives_the_search_bundle_which_searches_outside_the_clone(installed, small_phantom, tmp_path):
    where = run(installed, tmp_path, "-c", "import monai_ronas; print(monai_ronas.__file__)")
    assert where.strip() == str(installed / "monai_ronas" / "__init__.py")
    told = run(installed, tmp_path, "-m", "monai_ronas.bundle", "init", "mine")
    assert "--config_file mine/configs/search.json" in told
    written, tracked = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "mine", TRACKED)
    )
    assert written == {path: text for path, text in tracked.items() if path.parts[0] in ("LICENSE", "configs", "docs")}
    config = ("--config_file", "mine/configs/search.json", "--dataset_dir", str(small_phantom))
    verified = run(installed, tmp_path, "-m", "monai.bundle", "run", "verify", *config)
    assert "verified: every case can be used" in verified
    settings = [word for key, value in {**SMALL, "episodes": 1}.items() for word in (f"--{key}", str(value))]
    told = run(installed, tmp_path, "-m", "monai.bundle", "run", "search", *config, *settings)
    bundle = tmp_path / "output" / "ronas_segmentation"
    assert re.search(r"^ +bundle  output/ronas_segmentation$", told, flags=re.MULTILINE)
    image = sorted((small_phantom / "imagesTr").iterdir())[0]
    of_bundle = ("--config_file", str(bundle / "configs" / "inference.json"), "--bundle_root", str(bundle))
    volumes = ("--dataset_dir", str(image), "--output_dir", "predictions")
    run(installed, tmp_path, "-m", "monai.bundle", "run", *of_bundle, *volumes)
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == [image.name.replace(".nii", "_seg.nii")]

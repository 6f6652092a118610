# SPDX-License-Identifier: Apache-2.0
"""``python tests/integration/label_environment.py FOLDER`` makes a virtual environment for a MONAI Label server."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = (
    *("nibabel", "pytorch-ignite", "scikit-image", "tqdm", "psutil", "fire", "itk-io", "SimpleITK", "uvicorn"),
    *("fastapi", "pydantic-settings", "python-multipart", "schedule", "timeloop", "dicomweb-client", "google-auth"),
    *("pydicom<3", "girder-client", "expiring_dict", "cachetools", "watchdog", "pynrrd", "filelock", "passlib"),
    *("pyjwt", "shapely", "requests-toolbelt", "jsonschema<4", "dcmqi"),
)
WITHOUT_DEPENDENCIES = ("monailabel==0.8.5", "pydicom-seg==0.4.1", "torchvision==0.15.2")


def make_environment(folder: Path) -> Path:
    """Make an environment with MONAI Label, this package, and the torch and MONAI that run here.

    Returns:
        its Python.

    Raises:
        RuntimeError: when a step fails, with what it said.
    """
    if sys.version_info >= (3, 12):
        raise RuntimeError("MONAI Label 0.8.5 needs distutils, which 3.12 does not have: use Python 3.11.")
    python = folder / "bin" / "python"
    same = [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in ("torch", "monai")]
    installs = (same[:1], [*same[1:], *REQUIREMENTS], ["--no-deps", *WITHOUT_DEPENDENCIES], ["-e", ROOT])
    steps = ([sys.executable, "-m", "venv", folder], *([python, "-m", "pip", "install", "-q", *i] for i in installs))
    for step in steps:
        done = subprocess.run([str(word) for word in step], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, step))} failed: {done.stderr.strip() or done.stdout.strip()}")
    return python


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    try:
        print(make_environment(Path(sys.argv[1]).absolute()))
    except RuntimeError as error:
        sys.exit(f"ERROR: {error}")

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "Task04_Hippocampus"


def pytest_configure() -> None:
    """Share the cores among pytest-xdist's workers and the commands that their tests start."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, torch.get_num_threads() // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks for the groups in its own hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first; a file's tests on one worker, as they share fixtures, and those with MONAI Label on one."""
    items.sort(key=lambda item: "integration" not in item.path.parts)
    for item in items:
        label = "label_python" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("MONAI Label" if label else str(item.path)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the hippocampus data set, skipping where it is absent."""
    if not (REAL_DATA / "dataset.json").is_file():
        pytest.skip(f"needs Task04_Hippocampus of the Medical Segmentation Decathlon in {REAL_DATA}")
    return REAL_DATA

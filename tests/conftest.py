# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from xdist.scheduler import LoadFileScheduling

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "Task04_Hippocampus"


def pytest_configure() -> None:
    """Share the cores among pytest-xdist's workers and the commands that their tests start."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, torch.get_num_threads() // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items.sort(key=lambda item: "integration" not in item.path.parts)


class Scheduling(LoadFileScheduling):
    """A file's tests on one worker, as they share fixtures, those with MONAI Label on one, and those on a GPU on one.

    The marker ``xdist_group`` would say that too, but is without effect from pytest 9.2 on (pytest-xdist 3.8).
    """

    def _split_scope(self, nodeid: str) -> str:
        for shared in ("test_monai_label", "tests/gpu/"):
            if shared in nodeid:
                return shared
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Which test runs on which of pytest-xdist's workers."""
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the hippocampus data set, skipping where it is absent."""
    if not (REAL_DATA / "dataset.json").is_file():
        pytest.skip(f"needs Task04_Hippocampus of the Medical Segmentation Decathlon in {REAL_DATA}")
    return REAL_DATA

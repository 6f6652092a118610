# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "Task04_Hippocampus"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the hippocampus data set, skipping where it is absent."""
    if not (REAL_DATA / "dataset.json").is_file():
        pytest.skip(f"needs Task04_Hippocampus of the Medical Segmentation Decathlon in {REAL_DATA}")
    return REAL_DATA

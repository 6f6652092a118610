# SPDX-License-Identifier: Apache-2.0
"""What needs a CUDA device: ``python -m pytest tests/gpu``. The figures that the tests note are printed at the end."""

from __future__ import annotations

import os
import statistics
import time

import pytest
import torch

ON_CPU = "RONAS_GPU_TESTS_ON_CPU"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The card; with RONAS_GPU_TESTS_ON_CPU=1 the CPU, on which the tests run in small."""
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    if os.environ.get(ON_CPU):
        return torch.device("cpu")
    pytest.skip(f"needs a CUDA device; {ON_CPU}=1 runs what can be run in small on a CPU")


@pytest.fixture
def card(device) -> torch.device:
    """The card, skipping on a CPU."""
    if device.type != "cuda":
        pytest.skip("needs a CUDA device")
    return device


@pytest.fixture(scope="session")
def papers_gb(device) -> float:
    """GiB of the paper's card, or what a smaller one has."""
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 2**40
    return min(10.8, 0.9 * total / 2**30)


@pytest.fixture
def exact():
    """Convolutions in float32 instead of TF32."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


@pytest.fixture
def seconds(device):
    """Gives the median of the seconds that a function takes on the device, after two runs that do not count."""

    def measure(function, repeats=7):
        times = []
        for _ in range(2 + repeats):
            begin = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - begin)
        return statistics.median(times[2:])

    return measure


def pytest_terminal_summary(terminalreporter) -> None:
    noted = [note for report in terminalreporter.stats.get("passed", []) for note in report.user_properties]
    if noted:
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        terminalreporter.section(f"{name}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
        for what, value in noted:
            terminalreporter.write_line(f"{what}: {value:.4g}" if isinstance(value, float) else f"{what}: {value}")

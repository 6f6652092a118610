# SPDX-License-Identifier: Apache-2.0
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
import torch

from monai_ronas.utils import available_memory_bytes, cgroup, is_out_of_memory, spare_memory_gb, usable_memory_gb

GB = 2**30
Machine = namedtuple("Machine", ["total", "available"])


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Writes the files of control groups for a machine of 64 GiB with 40 free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(64 * GB, 40 * GB))
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "membership")

    def write(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    return write


def test_without_control_groups(machine):
    assert available_memory_bytes() == 40 * GB
    assert usable_memory_gb("cpu") == 32


def test_version_2_counts_no_cached_files(machine):
    statistics = f"anon {5 * GB}\ninactive_file {2 * GB}\nactive_file {1 * GB}"
    machine("0::/\n", {"memory.max": 16 * GB, "memory.current": 9 * GB, "memory.stat": statistics})
    assert available_memory_bytes() == 10 * GB
    assert usable_memory_gb("cpu") == 8


def test_the_smallest_limit_above_the_process_counts(machine):
    files = {
        "job/memory.max": 20 * GB,
        "job/memory.current": 19 * GB,
        "job/step/memory.max": 30 * GB,
        "job/step/memory.current": 2 * GB,
        "job/step/task/memory.max": "max",
        "job/step/task/memory.current": 1 * GB,
    }
    machine("0::/job/step/task\n", files)
    assert available_memory_bytes() == 1 * GB
    assert usable_memory_gb("cpu") == 10


@pytest.mark.parametrize("path", ["/", "/docker/0123", "/docker/0123/deeper"])
def test_version_1_seen_from_inside_a_container(machine, path):
    files = {
        "memory/memory.limit_in_bytes": 8 * GB,
        "memory/memory.usage_in_bytes": 6 * GB,
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GB}\ntotal_active_file {GB}",
    }
    machine(f"11:cpu,cpuacct:{path}\n9:memory:{path}\n1:name=systemd:{path}\n", files)
    assert available_memory_bytes() == 5 * GB
    assert usable_memory_gb("cpu") == 4


def test_no_limit_of_version_1_is_a_huge_number(machine):
    machine("9:memory:/\n", {"memory/memory.limit_in_bytes": 9223372036854771712})
    assert available_memory_bytes() == 40 * GB
    assert usable_memory_gb("cpu") == 32


def test_a_group_above_its_limit_has_nothing_left(machine):
    machine("0::/\n", {"memory.max": GB, "memory.current": 2 * GB})
    assert available_memory_bytes() == 0


@pytest.mark.parametrize("text", ["", "nonsense\n", "0::\n"])
def test_what_cannot_be_read_is_no_limit(machine, text):
    machine(text, {"memory.max": "nonsense"})
    assert available_memory_bytes() == 40 * GB


def test_a_cards_memory_is_shared_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=40 * GB))
    assert usable_memory_gb("cuda:1") == 32
    assert spare_memory_gb("cuda:1") == 2
    assert spare_memory_gb("cpu") == 0


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=str,
)
def test_a_lack_of_memory_is_known_by_its_words(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "message",
    [
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
    ],
)
@pytest.mark.parametrize(("free", "reserved", "allocated", "short"), [(1, 20, 14, True), (1, 20, 11, False)])
@pytest.mark.parametrize("ours", [0, 1])
def test_a_convolution_without_an_algorithm_lacks_memory_on_a_card_that_is_nearly_full(
    monkeypatch, message, free, reserved, allocated, short, ours
):
    assert not is_out_of_memory(RuntimeError(message))  # without a card
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cards = {
        ours: (free, reserved, allocated),
        1 - ours: (0, 0, 0) if not short else (40, 0, 0),
    }  # the other is no hint
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (cards[device][0] * GB, 40 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: cards[device][1] * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: cards[device][2] * GB)
    assert is_out_of_memory(RuntimeError(message)) == short


def test_a_lack_of_memory_that_caused_an_error_is_known():
    error = RuntimeError("Please try smaller patch size")
    error.__cause__ = torch.cuda.OutOfMemoryError("CUDA out of memory.")
    assert is_out_of_memory(error)
    error.__cause__ = RuntimeError("CUDA error: device-side assert triggered")
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: too many resources requested for launch",
        "CUDA error: misaligned address",
        "CUDA error: no kernel image is available for execution on the device",
        "CUDA error: uncorrectable ECC error encountered",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "NCCL error: unhandled system error",
        "Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true, but got false.",
        "upsample_nearest3d only supports output tensors with less than INT_MAX elements",
    ],
)
def test_other_errors_of_a_gpu_are_none(message):
    assert not is_out_of_memory(RuntimeError(message))

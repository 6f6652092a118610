# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest

from monai_ronas.data import read_msd, sizes
from monai_ronas.data.sizes import bounded_map, bounded_workers, case_values, working_memory_bytes

GB = 2**30


def machine(monkeypatch, *, free, cores=6):
    monkeypatch.setattr(sizes, "available_memory_bytes", lambda: int(free))
    monkeypatch.setattr(sizes.os, "cpu_count", lambda: cores)


@pytest.mark.parametrize(("free", "working"), [(0, 0), (3 * GB, 1.5 * GB), (8 * GB, 4 * GB), (1000 * GB, 4 * GB)])
def test_work_takes_half_of_the_free_memory_and_no_more_than_is_stated(monkeypatch, free, working):
    machine(monkeypatch, free=free)
    assert working_memory_bytes() == working


@pytest.mark.parametrize(
    ("free", "most", "workers"), [(0, 4, 1), (3.9 * GB, 4, 1), (4 * GB, 4, 2), (1000 * GB, 9, 4), (8 * GB, 0, 1)]
)
def test_as_many_workers_as_the_largest_case_allows(monkeypatch, free, most, workers):
    machine(monkeypatch, free=free)
    assert bounded_workers([1000] * 20 + [GB], most=most) == workers


def test_no_more_workers_than_cases(monkeypatch):
    machine(monkeypatch, free=GB)
    assert [bounded_workers([1] * n, most=4) for n in (0, 1, 3, 9)] == [1, 1, 3, 4]


class Work:
    """Counts what is taken at the same time."""

    def __init__(self):
        self.now, self.seen, self.lock = [], [], threading.Lock()

    def __call__(self, need):
        with self.lock:
            self.now.append(need)
            self.seen.append(sorted(self.now))
        threading.Event().wait(0.02)
        with self.lock:
            self.now.remove(need)
        return -need


def test_cases_share_the_memory_and_a_larger_one_is_worked_on_alone(monkeypatch):
    machine(monkeypatch, free=20)
    needs, work = [4, 4, 25, 3, 6, 4, 2, 1], Work()
    assert bounded_map(work, needs, lambda need: need, most=8) == [-need for need in needs]
    assert all(sum(now) <= 10 or now == [25] for now in work.seen)
    assert max(len(now) for now in work.seen) > 1


def test_no_more_cases_at_once_than_wanted_and_an_error_comes_through(monkeypatch):
    machine(monkeypatch, free=20, cores=3)
    work = Work()
    bounded_map(work, [1] * 12, lambda need: need, most=8)
    assert max(len(now) for now in work.seen) <= 3

    def broken(case):
        raise ValueError(f"case {case}")

    with pytest.raises(ValueError, match="case 2"):
        bounded_map(broken, [2, 20, 20], lambda need: need, most=2)
    assert bounded_map(broken, [], lambda need: need, most=2) == []


def test_values_of_headers(maker):
    maker.content["modality"] = {"0": "T1", "1": "T2"}
    maker.add("a", image=np.ones((4, 5, 6, 2), np.float32), label=np.ones((4, 5, 6), np.uint8))
    (case,) = read_msd(maker.write()).cases
    assert case_values(case) == (240, 120)
    case.label.write_bytes(b"no volume")
    assert case_values(case) == (240, 0)

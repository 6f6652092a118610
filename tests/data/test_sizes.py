# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.data import read_msd, sizes
from monai_ronas.data.sizes import CaseValues, bounded_workers, case_values

GB = 10**9


@pytest.mark.parametrize(
    ("free", "most", "workers"),
    [(0, 4, 1), (7.9 * GB, 4, 1), (8 * GB, 4, 2), (1000 * GB, 4, 4), (1000 * GB, 99, 6), (0, 0, 1)],
)
def test_half_of_the_memory_is_enough_for_the_largest_cases(monkeypatch, free, most, workers):
    monkeypatch.setattr(sizes, "available_memory_bytes", lambda: int(free))
    monkeypatch.setattr(sizes.os, "cpu_count", lambda: 6)
    cases = [CaseValues(10, 10)] * 20 + [CaseValues(30_000_000, 10_000_000)]
    assert bounded_workers(cases, bytes_per_value=50, most=most) == workers


def test_no_more_workers_than_cases(monkeypatch):
    monkeypatch.setattr(sizes, "available_memory_bytes", lambda: GB)
    monkeypatch.setattr(sizes.os, "cpu_count", lambda: 6)
    assert [bounded_workers([CaseValues(1, 1)] * n, bytes_per_value=1, most=4) for n in (0, 1, 3, 9)] == [1, 1, 3, 4]


def test_values_of_headers(maker):
    import numpy as np

    maker.content["modality"] = {"0": "T1", "1": "T2"}
    maker.add("a", image=np.ones((4, 5, 6, 2), np.float32), label=np.ones((4, 5, 6), np.uint8))
    (case,) = read_msd(maker.write()).cases
    assert case_values(case) == (240, 120)
    case.label.write_bytes(b"no volume")
    assert case_values(case) == (240, 0)

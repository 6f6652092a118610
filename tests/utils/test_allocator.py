# SPDX-License-Identifier: Apache-2.0
import json
import os
import platform
from pathlib import Path

from monai_ronas.utils import keep_freed_memory

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"
CUDA, NEWER = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"


def test_settings_of_the_user_are_left_alone_and_glibc_takes_ours(monkeypatch):
    monkeypatch.delenv(CUDA, raising=False)
    monkeypatch.delenv(NEWER, raising=False)
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    assert os.environ[CUDA] == "expandable_segments:True"
    monkeypatch.setenv(CUDA, "max_split_size_mb:64")
    keep_freed_memory()
    assert os.environ[CUDA] == "max_split_size_mb:64"
    monkeypatch.delenv(CUDA)
    monkeypatch.setenv(NEWER, "max_split_size_mb:64")
    keep_freed_memory()
    assert CUDA not in os.environ


def test_a_search_sets_the_allocator_before_it_asks_for_its_device():
    """torch reads the setting when CUDA is made ready, which a question for the device's properties does."""
    steps = json.loads(SEARCH.read_text(encoding="utf-8"))["initialize"]
    place = steps.index("$monai_ronas.utils.keep_freed_memory()")
    assert not any("@" in step for step in steps[:place])


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False

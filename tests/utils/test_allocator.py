# SPDX-License-Identifier: Apache-2.0
import os
import platform

from monai_ronas.utils import keep_freed_memory

CUDA = "PYTORCH_CUDA_ALLOC_CONF"


def test_settings_of_the_user_are_left_alone_and_glibc_takes_ours(monkeypatch):
    monkeypatch.delenv(CUDA, raising=False)
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    assert os.environ[CUDA] == "expandable_segments:True"
    monkeypatch.setenv(CUDA, "max_split_size_mb:64")
    keep_freed_memory()
    assert os.environ[CUDA] == "max_split_size_mb:64"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False

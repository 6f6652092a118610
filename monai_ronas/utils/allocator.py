# SPDX-License-Identifier: Apache-2.0
"""Memory allocators, set for large tensors of ever other shapes that come and go."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next tensor instead of returning them, and CUDA to join them.

    With its defaults, every large tensor is mapped and unmapped anew, and training on a CPU spends much of its time in
    page faults. The setting holds for the whole process; its resident memory stays at its peak. Without effect on
    other C libraries.

    On CUDA, segments that can grow keep the patches' changing shapes from splitting the memory into pieces that no
    tensor fits into. It is torch's ``expandable_segments``, set where the environment has neither
    ``PYTORCH_CUDA_ALLOC_CONF`` nor ``PYTORCH_ALLOC_CONF``. torch reads them when it makes CUDA ready, which a question
    for a device's properties does: call this before, or it has no effect there.

    Returns:
        whether the settings were taken.
    """
    if "PYTORCH_ALLOC_CONF" not in os.environ:  # the newer name
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    taken = [libc.mallopt(option, value) == 1 for option, value in settings]
    return all(taken)

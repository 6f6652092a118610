# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.gpu.limited GB ARGUMENTS``: ``python -m monai.bundle ARGUMENTS`` on a card of so many GiB."""

import runpy
import sys

import torch

from monai_ronas.utils import keep_freed_memory

if __name__ == "__main__":
    limit = float(sys.argv.pop(1)) * 2**30
    keep_freed_memory()  # before CUDA is made ready
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            total = torch.cuda.get_device_properties(index).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), index)
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)

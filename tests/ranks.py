# SPDX-License-Identifier: Apache-2.0
"""Several processes of one search, within a test."""

from __future__ import annotations

import os
import socket

import torch
from torch.multiprocessing import start_processes

from monai_ronas.utils import join_ranks


def in_ranks(function, folder, *, number=2):
    """What ``function`` returns in each of some gloo processes, forks of this one.

    Args:
        function: takes nothing; what it returns can be saved with ``torch.save``.
        folder: for the results.
        number: of the processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_work, args=(function, number, port, folder), nprocs=number, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(number)]


def _work(rank, function, number, port, folder):
    torch.set_num_threads(1)  # a fork has lost the others
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    join_ranks("cpu", timeout_minutes=2)
    torch.save(function(), folder / f"{rank}.pt")

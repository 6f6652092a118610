# SPDX-License-Identifier: Apache-2.0
"""The states of all generators of random numbers that a training draws from."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """The global states of torch, CUDA, numpy and Python, as plain types and tensors.

    Example:
        >>> before = random_states()
        >>> first = torch.rand(1), random.random()
        >>> restore_random_states(before)
        >>> first == (torch.rand(1), random.random())
        True
    """
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - MONAI draws from it
    return {
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": [name, [int(k) for k in keys], *rest],
        "python_rng": list(random.getstate()[1]),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set the states that :func:`random_states` has given; those of CUDA where there are as many devices."""
    torch.set_rng_state(states["torch_rng"])
    name, keys, *rest = states["numpy_rng"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), *rest))  # noqa: NPY002 - MONAI draws from it
    random.setstate((3, tuple(states["python_rng"]), None))
    if torch.cuda.is_available() and len(states["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda_rng"])

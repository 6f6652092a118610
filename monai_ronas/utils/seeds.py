# SPDX-License-Identifier: Apache-2.0
"""The seeds of a run."""

from __future__ import annotations

import torch
from monai.utils import set_determinism


def set_seeds(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch as MONAI's ``set_determinism`` does, with a choice about cuDNN's kernels.

    Args:
        seed: of all of them.
        deterministic: take kernels of cuDNN that repeat themselves to the last bit, which are slower; MONAI does.

    Example:
        >>> set_seeds(0)
        >>> torch.backends.cudnn.deterministic
        False
    """
    set_determinism(seed=seed)
    torch.backends.cudnn.deterministic = deterministic

# SPDX-License-Identifier: Apache-2.0
"""Weights of which a step uses a part."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

_Kept = list[tuple[torch.Tensor, torch.Tensor, tuple[slice, ...]]]


def used_part(weight: torch.Tensor) -> tuple[slice, ...] | None:
    """The leading part of a weight that the network uses now, or None where that is all of it.

    It is told by the attribute ``used_shape``, which :meth:`~monai_ronas.networks.nets.RonasSuperNet.select` sets.
    """
    shape = getattr(weight, "used_shape", None)
    if shape is None or tuple(shape) == tuple(weight.shape):
        return None
    return tuple(slice(size) for size in shape)


def keep_unused(optimizer: Optimizer) -> None:
    """Let the steps of an optimiser leave alone what the network does not use of a weight.

    Gradients are zero there, but momentum, moments and weight decay would move it. The unused part of a weight, and of
    what the optimiser remembers of it, is the same after a step as before. Calling this twice does no harm.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.used_shape = (1,)
        >>> optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=1.0)
        >>> keep_unused(optimizer)
        >>> weight.grad = torch.zeros(2)
        >>> optimizer.step()
        >>> weight.tolist()
        [0.8999999761581421, 1.0]
    """
    if getattr(optimizer, "keeps_unused", False):
        return
    kept: _Kept = []

    def before(given: Optimizer, args: Any, kwargs: Any) -> None:
        kept.clear()
        for group in given.param_groups:
            for weight in () if group.get("orthogonal") else group["params"]:  # Muon moves the part alone
                part = used_part(weight) if weight.grad is not None else None
                if part is not None:
                    remembered = [v for v in given.state[weight].values() if _is_alike(v, weight)]
                    kept.extend((t, t.detach().clone(), part) for t in (weight, *remembered))

    @torch.no_grad()
    def after(given: Optimizer, args: Any, kwargs: Any) -> None:
        for tensor, old, part in kept:
            old[part] = tensor[part]
            tensor.copy_(old)
        kept.clear()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    optimizer.keeps_unused = True  # type: ignore[attr-defined]


def _is_alike(value: Any, weight: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == weight.shape

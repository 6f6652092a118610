# SPDX-License-Identifier: Apache-2.0
"""Muon for convolutions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch

from monai_ronas.errors import SettingError
from monai_ronas.optimizers.unused import used_part

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan et al., 2024
ITERATIONS = 2, 3  # on a Gram matrix, which is formed anew between them
AT_ONCE = 2**21  # values of the kernels that are moved at once, so that their copies take some 30 MB
_Moves = list[tuple[torch.Tensor, torch.Tensor]]  # a part of a kernel, and the direction that it is moved along


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Matrices with their singular vectors and all of their singular values near 1 (0.65 to 1.25).

    Five steps of the Newton-Schulz iteration of Jordan et al. (2024, https://kellerjordan.github.io/posts/muon),
    ``X <- a X + b (X X^T) X + c (X X^T)^2 X``. Their factors are polynomials of the first ``X X^T``, so that they can
    be multiplied before they meet ``X``: fewer products with the long side. Rounding makes that unstable, most of all
    where float32 is multiplied as TF32, unless ``X`` and ``X X^T`` are formed anew in between (Zhang et al., 2026,
    https://dao-lab.ai/blog/2026/gram-newton-schulz).

    Args:
        matrix: of shape ``(..., rows, columns)``, each by itself. Singular values below 0.002 of its Frobenius norm end
            smaller than 0.65.
    """
    return _orthogonalized([matrix])[0]


def _orthogonalized(matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Several, ``(n, rows, columns)``, of the same shorter side: products of this by this size are made at once."""
    a, b, c = COEFFICIENTS
    with torch.autocast(matrices[0].device.type, enabled=False):
        wide = [m.float() if m.shape[-2] <= m.shape[-1] else m.float().mT for m in matrices]
        wide = [m / (torch.linalg.matrix_norm(m, keepdim=True) + 1e-7) for m in wide]
        for iterations in ITERATIONS:
            grams = [m @ m.mT for m in wide]
            gram = grams[0] if len(grams) == 1 else torch.cat(grams)
            product = None
            for left in reversed(range(iterations)):
                factor = b * gram + c * gram @ gram
                factor.diagonal(dim1=-2, dim2=-1).add_(a)
                product = factor if product is None else factor @ product
                if left:
                    gram = factor @ gram @ factor
            assert product is not None
            products = [product] if len(grams) == 1 else product.split([len(m) for m in wide])
            wide = [factor @ m for factor, m in zip(products, wide, strict=True)]
    results = (w.to(m.dtype) for w, m in zip(wide, matrices, strict=True))
    return [w if w.shape == m.shape else w.mT for w, m in zip(results, matrices, strict=True)]


def _stacked(matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Matrices of a shape as one tensor, a single one without a copy."""
    return matrices[0].unsqueeze(0) if len(matrices) == 1 else torch.stack(list(matrices))


def _takes_many(device: torch.device) -> bool:
    """Whether small products are faster many at once than each by itself."""
    return device.type != "cpu"


def _portions(kernels: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Kernels to move at once, of which alone there are copies: one, or on a GPU as many as :data:`AT_ONCE` allows.

    Kernels of a shape come after each other, so that most of them are in the same portion.
    """
    portion: list[torch.Tensor] = []
    for kernel in sorted(kernels, key=lambda k: (min(len(k), k.numel() // len(k)), k.shape)):
        one = not _takes_many(kernel.device)
        if portion and (one or sum(k.numel() for k in portion) + kernel.numel() > AT_ONCE):
            yield portion
            portion = []
        portion.append(kernel)
    if portion:
        yield portion


class Muon(torch.optim.AdamW):
    """Momentum with orthogonalised updates for the kernels of convolutions, AdamW for biases and normalisations.

    A kernel ``(out, in, ...)`` is taken as a matrix ``(out, in * ...)`` and moved by ``lr`` along each of its principal
    directions alike, times ``sqrt(out / (in * ...))`` where that is above 1 (Jordan et al., 2024). It has one moment
    where AdamW has two. ``torch.optim.Muon`` takes matrices only, and works in bfloat16, which is slow on processors
    that have to emulate it; this one works in float32.

    Any weight of three or more dimensions counts as a kernel. The kernels of transposed convolutions are
    ``(in, out, ...)``: they move along the same directions, without the factor where it would be above 1. Of a kernel
    that is used in part (:func:`~monai_ronas.optimizers.keep_unused`), that part is the matrix. The weights
    are in two groups, of kernels (``group["orthogonal"]``) and of the rest, linear layers included.

    Args:
        params: the weights, not in groups, which this optimiser makes itself.
        lr: learning rate of the kernels.
        adam_lr_factor: learning rate of the rest, as a factor of ``lr``.
        momentum: of the kernels; a step looks ahead (Nesterov).
        weight_decay: decoupled, of all weights. The length of a kernel before a normalisation does not change the
            output, but the longer it is, the less a step turns it. The decay bounds the length (after Kosson et al.,
            Rotational Equilibrium, ICML 2024, on other optimisers).

    Raises:
        TypeError: when ``params`` holds something else than weights.
        SettingError: when ``params`` is empty, ``momentum`` is not in [0, 1), ``adam_lr_factor`` is negative, or AdamW
            refuses the others.

    Example:
        >>> network = torch.nn.Conv3d(1, 4, kernel_size=3)
        >>> optimizer = Muon(network.parameters(), lr=0.02)
        >>> network(torch.ones(1, 1, 3, 3, 3)).sum().backward()
        >>> optimizer.step()
        >>> [group["lr"] for group in optimizer.param_groups]  # of kernels, and of the rest
        [0.02, 0.003]
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float = 0.02,
        *,
        adam_lr_factor: float = 0.15,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        if not 0 <= momentum < 1:
            raise SettingError(f"momentum must be at least 0 and below 1, received {momentum}.")
        if adam_lr_factor < 0:
            raise SettingError(f"adam_lr_factor must not be negative, received {adam_lr_factor}.")
        weights = list(params)
        if not weights:
            raise SettingError("params is empty: Muon has no weights to move.")
        if not all(isinstance(weight, torch.Tensor) for weight in weights):
            raise TypeError("params must be weights, not groups or names with weights: Muon makes its groups itself.")
        groups: list[dict[str, Any]] = [
            {"params": [w for w in weights if w.dim() > 2], "orthogonal": True, "momentum": momentum},
            {"params": [w for w in weights if w.dim() <= 2], "orthogonal": False, "lr": lr * adam_lr_factor},
        ]
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the weights that have a gradient; returns what ``closure`` returns, which is called first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group.get("orthogonal"):
                for kernels in _portions([kernel for kernel in group["params"] if kernel.grad is not None]):
                    self._move(kernels, group)
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        try:
            inspect.unwrap(torch.optim.AdamW.step)(self)  # without hooks, which run around this method already
        finally:
            self.param_groups = groups
        return loss

    def _move(self, kernels: list[torch.Tensor], group: dict[str, Any]) -> None:
        """Move kernels, those of a shape at once, and in small products all with the same shorter side."""
        stacks: dict[tuple[Any, ...], _Moves] = {}
        for kernel in kernels:
            part, matrix = self._direction(kernel, group)
            stacks.setdefault((matrix.device, matrix.dtype, matrix.shape), []).append((part, matrix))
        together: dict[tuple[Any, ...], list[_Moves]] = {}
        for (device, _, shape), stack in stacks.items():
            together.setdefault((device, min(shape)), []).append(stack)
        for alike in together.values():
            updates = _orthogonalized([_stacked([matrix for _, matrix in stack]) for stack in alike])
            for (part, _), update in zip(itertools.chain(*alike), itertools.chain(*updates), strict=True):
                rows, columns = update.shape
                part.mul_(1 - group["lr"] * group["weight_decay"])
                part.add_(update.view(part.shape), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _direction(self, kernel: torch.Tensor, group: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The part of a kernel that is in use, and its gradient and momentum together, as a matrix."""
        gradient, state = cast(torch.Tensor, kernel.grad), self.state[kernel]
        if not state:
            state["step"] = torch.tensor(0.0)  # AdamW wants to find one when a state is loaded
            state["momentum"] = torch.zeros_like(kernel)
        state["step"] += 1
        momentum, used = state["momentum"], used_part(kernel)
        if used is not None:
            kernel, gradient, momentum = kernel[used], gradient[used], momentum[used]
        momentum.lerp_(gradient, 1 - group["momentum"])
        return kernel, gradient.lerp(momentum, group["momentum"]).flatten(1)

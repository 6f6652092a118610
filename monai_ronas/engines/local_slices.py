# SPDX-License-Identifier: Apache-2.0
"""Slices of training that begin from the same weights, whose moves are joined after them."""

from __future__ import annotations

from typing import Any

import torch

from monai_ronas.engines.averaged_weights import on_cpu
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.utils.ranks import from_all, from_main, total

_Name = tuple[str, Any, str]  # "network" or "optimizer", number of a weight, and name


class LocalSlices:
    """Several slices from the same weights, in any number of processes, and the mean of what they moved (local SGD).

    Each slice begins with the same weights and moments of the optimiser, and with crops of its own. At the end every
    weight, and all that the optimiser remembers of it, has moved by the mean over the slices that moved it (Stich, ICLR
    2019, where every slice moves all). It is a mean element by element: where an architecture uses a part of a weight,
    it counts for that part alone.

    Args:
        slices: trains the shared weights.

    Example:
        ``begin`` on all ranks; ``enter(n)``, a slice and ``leave()`` for each slice ``n`` on one of them, apart from
        the others; ``join`` on all ranks.
    """

    def __init__(self, slices: SliceTrainer) -> None:
        self.slices = slices
        self._start: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._moves: dict[_Name, torch.Tensor] = {}
        self._counts: dict[_Name, torch.Tensor] = {}
        self._random = torch.get_rng_state()
        self._seed = 0

    def begin(self) -> None:
        """Take the present weights for the start of all slices."""
        generator = getattr(self.slices.trainer.prepare_batch, "generator", None)
        self._seed = from_main(int(torch.randint(2**62, (), generator=generator)))
        self._random = torch.get_rng_state()
        self._start = on_cpu(self.slices.state_dict())
        self._last = {}
        self._moves, self._counts = {}, {}

    def enter(self, number: int) -> None:
        """Begin a slice.

        Args:
            number: of the slice, from which its crops follow.
        """
        self.slices.load_state_dict(self._start)
        torch.manual_seed(self._seed + number)
        generator = getattr(self.slices.trainer.prepare_batch, "generator", None)
        if generator is not None:
            generator.manual_seed(self._seed + number)

    def leave(self) -> None:
        """Take note of what the slice has moved."""
        self._last = on_cpu(self.slices.state_dict())
        start = _tensors(self._start)
        for name, tensor in _tensors(self._last).items():
            move = tensor - start[name] if name in start else tensor
            if name not in self._moves:
                self._moves[name], self._counts[name] = torch.zeros_like(move), torch.zeros_like(move)
            self._moves[name] += move
            self._counts[name] += move != 0

    def join(self) -> None:
        """Let all go on from the mean of the moves, with the limits of memory of all.

        Counters, learning rates and the scale of the loss are those of the last slice of rank 0, which must have had
        one.
        """
        kept = ("iteration", "epoch", "restored", "scaler")
        last, groups = from_main(
            self._last and ([self._last[k] for k in kept], self._last["optimizer"]["param_groups"])
        )
        state = {**self._start, **dict(zip(kept, last, strict=True)), "network": dict(self._start["network"])}
        moments = {index: dict(of_weight) for index, of_weight in self._start["optimizer"]["state"].items()}
        state["optimizer"] = {"state": moments, "param_groups": groups}
        for (part, index, key), move in self._mean_moves().items():
            place = state["network"] if part == "network" else moments.setdefault(index, {})
            place[key] = place[key] + move if key in place else move
        self.slices.load_state_dict(state)
        self.slices.share_limit()
        torch.set_rng_state(self._random)

    def _mean_moves(self) -> dict[_Name, torch.Tensor]:
        """Of every tensor that any slice has moved or made, on all ranks."""
        shapes: dict[_Name, torch.Size] = {}
        for own in from_all({name: move.shape for name, move in self._moves.items()}):
            shapes.update(own)
        if not shapes:
            return {}
        sums = []
        for found in (self._moves, self._counts):
            parts = [found[name] if name in found else torch.zeros(shape) for name, shape in shapes.items()]
            sums.append(total(torch.cat([part.reshape(-1) for part in parts])))
        mean = (sums[0] / sums[1].clamp(min=1)).split([shape.numel() for shape in shapes.values()])
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), mean, strict=True)}


def _tensors(state: dict[str, Any]) -> dict[_Name, torch.Tensor]:
    """Weights and what the optimiser remembers of them, as far as they can move."""
    found: dict[_Name, Any] = {("network", None, name): weight for name, weight in state["network"].items()}
    for index, remembered in state["optimizer"]["state"].items():
        found.update({("optimizer", index, name): value for name, value in remembered.items()})
    return {n: t for n, t in found.items() if isinstance(t, torch.Tensor) and t.is_floating_point()}

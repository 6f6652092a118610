# SPDX-License-Identifier: Apache-2.0
"""Slices of training that begin from the same weights, whose moves are joined after them."""

from __future__ import annotations

from typing import Any

import torch

from monai_ronas.engines.averaged_weights import on_cpu
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.utils.collectives import from_all, take_from_main
from monai_ronas.utils.random_states import random_states, restore_random_states
from monai_ronas.utils.ranks import from_main, total

_Name = tuple[str, Any, str]  # "network" or "optimizer", number of a weight, and name
_COUNTS = ("skipped_in_a_row", "finite_steps")  # of the trainer's state, which go on over the slices of a round


class LocalSlices:
    """Several slices from the same weights, in any number of processes, and the mean of what they moved (local SGD).

    Each slice begins with the same weights and moments of the optimiser, and with crops of its own. At the end every
    weight, and all that the optimiser remembers of it, has moved by the mean over the slices that moved it (Stich, ICLR
    2019, where every slice moves all). It is a mean element by element: where an architecture uses a part of a weight,
    it counts for that part alone. A slice that ends with a weight that is not finite counts for nothing.

    Args:
        slices: trains the shared weights.

    Example:
        ``begin`` on all ranks; ``enter(n)``, a slice and ``leave()`` for each slice ``n`` on one of them, apart from
        the others; ``join`` on all ranks.
    """

    def __init__(self, slices: SliceTrainer) -> None:
        self.slices = slices
        self._start: dict[str, Any] = {}
        self._forget()

    @property
    def has_begun(self) -> bool:
        """Whether slices begin from the same weights now."""
        return bool(self._start)

    def begin(self) -> None:
        """Take the present weights, those of rank 0, for the start of all slices."""
        trainer: Any = self.slices.trainer
        take_from_main(w for w in trainer.network.state_dict().values() if w.is_floating_point())
        generator = getattr(trainer.prepare_batch, "generator", None)
        self._seed = from_main(int(torch.randint(2**62, (), generator=generator)))
        self._random = random_states()
        self._start = on_cpu(self.slices.state_dict())
        self._in_a_row, self._finite = (getattr(trainer.state, name, 0) for name in _COUNTS)

    def enter(self, number: int) -> None:
        """Begin a slice.

        Args:
            number: of the slice, from which its crops follow.
        """
        self.slices.load_state_dict(self._start)
        trainer: Any = self.slices.trainer
        trainer.state.skipped_in_a_row, trainer.state.finite_steps = self._in_a_row, self._finite
        torch.manual_seed(self._seed + number)
        generator = getattr(trainer.prepare_batch, "generator", None)
        if generator is not None:
            generator.manual_seed(self._seed + number)

    def leave(self) -> None:
        """Take note of what the slice has moved."""
        trainer: Any = self.slices.trainer
        state = on_cpu(self.slices.state_dict())
        found, rest = _parts(state)
        end = {key: state[key] for key in ("iteration", "epoch", "restored", "scaler")}
        end |= {"groups": state["optimizer"]["param_groups"], **{k: getattr(trainer.state, k, 0) for k in _COUNTS}}
        self._ends.append(end)
        if not all(bool(tensor.isfinite().all()) for tensor in found.values()):
            return
        self._rest.update(rest)
        start, _ = _parts(self._start)
        for name, tensor in found.items():
            move = tensor - start[name] if name in start else tensor
            if name not in self._moves:
                self._moves[name], self._counts[name] = torch.zeros_like(move), torch.zeros_like(move)
            self._moves[name] += move
            self._counts[name] += move != 0

    def join(self) -> None:
        """Let all go on from the mean of the moves, with the limits of memory of all.

        Where the training of a slice went back to older weights, its smaller learning rates hold, and of the scales of
        the loss the least one.
        """
        ends = [end for own in from_all(self._ends) for end in own]
        worst = max(ends, key=lambda end: end["restored"])
        state = {**self._start, **{key: worst[key] for key in ("iteration", "epoch", "restored")}}
        state["scaler"] = min((end["scaler"] for end in ends), key=lambda scale: scale.get("scale", 0.0))
        state["network"] = dict(self._start["network"])
        moments = {index: dict(of_weight) for index, of_weight in self._start["optimizer"]["state"].items()}
        state["optimizer"] = {"state": moments, "param_groups": worst["groups"]}
        for own in from_all(self._rest):
            for (_, index, key), value in own.items():
                moments.setdefault(index, {})[key] = value
        for (part, index, key), move in self._mean_moves().items():
            place = state["network"] if part == "network" else moments.setdefault(index, {})
            place[key] = place[key] + move if key in place else move
        self.slices.load_state_dict(state)
        trainer: Any = self.slices.trainer
        for name in _COUNTS:
            setattr(trainer.state, name, min(end[name] for end in ends))
        self.slices.share_limit()
        restore_random_states(self._random)
        self._forget()

    def _forget(self) -> None:
        self._start = {}
        self._ends: list[dict[str, Any]] = []
        self._moves: dict[_Name, torch.Tensor] = {}
        self._counts: dict[_Name, torch.Tensor] = {}
        self._rest: dict[_Name, Any] = {}

    def _mean_moves(self) -> dict[_Name, torch.Tensor]:
        """Of every tensor that any slice has moved or made, on all ranks."""
        shapes: dict[_Name, torch.Size] = {}
        for own in from_all({name: move.shape for name, move in self._moves.items()}):
            shapes.update(own)
        if not shapes:
            return {}
        parts = [
            found[name] if name in found else torch.zeros(shape)
            for found in (self._moves, self._counts)
            for name, shape in shapes.items()
        ]
        moves, counts = total(torch.cat([part.reshape(-1) for part in parts])).chunk(2)
        mean = (moves / counts.clamp(min=1)).split([shape.numel() for shape in shapes.values()])
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), mean, strict=True)}


def _parts(state: dict[str, Any]) -> tuple[dict[_Name, torch.Tensor], dict[_Name, Any]]:
    """Weights and what the optimiser remembers of them: what can be averaged, and what the optimiser has beside it."""
    found: dict[_Name, Any] = {("network", None, name): weight for name, weight in state["network"].items()}
    for index, remembered in state["optimizer"]["state"].items():
        found.update({("optimizer", index, name): value for name, value in remembered.items()})
    averaged = {n: t for n, t in found.items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    return averaged, {n: value for n, value in found.items() if n not in averaged and n[0] == "optimizer"}

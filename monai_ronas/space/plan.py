# SPDX-License-Identifier: Apache-2.0
"""The plan: what is decided before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from monai_ronas.space.ronas_space import PATCH_RATIO, RonasSpace


@dataclass(frozen=True)
class Draft:
    """A network with its training patch, as far as it decides memory and time.

    Args:
        strides: of each stage, one number for each axis.
        channels: of each stage.
        patch: voxels of the data, along each axis.
        crops: crops in a batch.
    """

    strides: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...]
    patch: tuple[int, ...]
    crops: int = 2


@dataclass(frozen=True)
class Plan:
    """The base network and what the search may change of it.

    Args:
        strides: of the stages of the base network; the first is the resolution at which it works.
        channels: of its stages.
        patch: its training patch.
        largest_patch: the largest patch of the space: the median volume in multiples of the strides.
        batch_size: crops in its batch.
        widths: factors of the channels that the search may choose.
        seconds_per_step: of a training step, as estimated; None where nothing was measured.
        steps: that the time allows; None without a time.
        reasons: why, a sentence each.
        kernel_sizes: of the convolutions of the stages; empty for 3 along every axis.
    """

    strides: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...]
    patch: tuple[int, ...]
    largest_patch: tuple[int, ...]
    batch_size: int
    widths: tuple[float, ...]
    seconds_per_step: float | None
    steps: int | None
    reasons: tuple[str, ...]
    kernel_sizes: tuple[tuple[int, ...], ...] = ()

    @property
    def _has_flat_kernels(self) -> bool:
        return any(len(set(kernel)) > 1 for kernel in self.kernel_sizes)

    @property
    def stages(self) -> int:
        """Number of resolution stages."""
        return len(self.channels)

    def space_arguments(self) -> dict[str, Any]:
        """The arguments of :class:`~monai_ronas.space.RonasSpace` that follow from the plan."""
        return {
            "shape": self.largest_patch,
            "stages": self.stages,
            "strides": self.strides,
            "kernel_sizes": self.kernel_sizes or None,
            "searched_strides": tuple(range(1, self.stages + 1)),
            "widths": self.widths,
            "patch": self.patch,
            "patch_ratio": PATCH_RATIO,
        }

    def within(self, space: RonasSpace) -> Plan:
        """The plan as a space has it, whose own settings come before those of the plan; for words, not for a space.

        Where its base network is another one than planned, nothing is known of its pace, and the reasons do not hold.
        """
        base = space.base
        chosen = replace(
            self,
            strides=space.strides(base),
            channels=space.channels(base, self.channels),
            patch=space.patch(base),
            largest_patch=space.shape,
            widths=space.widths,
            kernel_sizes=space.kernel_sizes,
        )
        kernels = self.kernel_sizes or ((3,) * len(self.patch),) * self.stages
        planned = (self.strides, self.channels, self.patch, kernels)
        if (chosen.strides, chosen.channels, chosen.patch, chosen.kernel_sizes) == planned:
            return chosen
        return replace(chosen, seconds_per_step=None, steps=None, reasons=("the space or the memory says so",))

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """Inverse of :meth:`to_dict`, possibly after JSON."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        for name in ("strides", "kernel_sizes"):
            values[name] = tuple(tuple(s) for s in content.get(name, ()))
        return cls(**values)

    def words(self) -> str:
        """The plan in a few lines of text."""
        pace = [] if self.seconds_per_step is None else [f"{self.seconds_per_step:.3g} s a step"]
        pace += [] if self.steps is None else [f"{self.steps} steps"]
        rows = [
            ("plan", f"{self.stages} stages of {', '.join(map(str, self.channels))} channels"),
            ("strides", ", ".join(times(s) for s in self.strides)),
            *([("kernels", ", ".join(times(k) for k in self.kernel_sizes))] if self._has_flat_kernels else []),
            ("patch", f"{times(self.patch)}, batches of {self.batch_size}"),
            *([("pace", ", ".join(pace))] if pace else []),
            *(("why" if n == 0 else "", text) for n, text in enumerate(self.reasons)),
        ]
        return "\n".join(f"{name:>10}  {text}" for name, text in rows)


def times(values: Sequence[int]) -> str:
    """Numbers in the words of a plan."""
    return "x".join(str(v) for v in values)

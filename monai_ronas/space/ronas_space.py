# SPDX-License-Identifier: Apache-2.0
"""The paper's space, built from the shape and spacing of the data."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from monai_ronas.space.architecture import Architecture
from monai_ronas.space.decision import Decision, freeze
from monai_ronas.space.geometry import base_strides, patch_sizes, total_stride
from monai_ronas.space.search_space import SearchSpace

SKIP_OPTIONS = (False, True)


class RonasSpace(SearchSpace):
    """Patch size, strides of the deeper stages, dilation, activation and skip points (Bae et al., MICCAI 2019).

    Stage 1 is the finest. Decisions, in order, for four stages in three dimensions: ``patch_hw`` (both in-plane axes
    together), ``patch_d``, ``stride_3``, ``stride_4``, ``dilation_2`` .. ``dilation_4``, ``activation`` and
    ``skip_i_j`` (decoder level ``i`` adds the features of encoder stage ``j <= i``; six of them). In two dimensions
    there is no ``patch_d``.

    The base network has the first activation, the base strides, dilation 1, the skips with ``i == j`` (where that is no
    option of a decision, the first one), and the largest patch with which it is feasible.

    Args:
        shape: voxels per axis of the volumes, in-plane axes first, after preprocessing. Patches do not exceed it.
        spacing: voxel size per axis, in mm. Default: isotropic.
        stages: number of resolution stages.
        strides: strides of the base network, one tuple per stage. Default: :func:`base_strides`.
        searched_strides: stages whose stride is searched: the base network's, or 1 on every axis. Default: from the
            third.
        dilations: options of the dilation rate.
        dilated_stages: stages whose dilation is searched; the others have dilation 1. Default: from the second.
        activations: options of the activation, names of MONAI's ``Act`` factory.
        patch_count: how many candidates the patch formula makes per axis.
        min_cells: fewest voxels along an axis of the deepest feature map in training.
        overrides: decision names to options of your own, for what the arguments above do not cover, such as
            ``{"patch_d": [32, 16]}``. An empty list is refused; one option fixes the decision.

    Raises:
        ValueError: when a stage does not exist, an override names no decision, an own patch is no multiple of the
            strides, or the base network is feasible with no patch.
        TypeError: when the options of a decision are no list, or an activation is no name.

    Example:
        >>> space = RonasSpace((35, 50, 36))
        >>> [d.name for d in space][:4], space["patch_hw"].options
        (['patch_hw', 'patch_d', 'stride_3', 'stride_4'], ((32, 48), (32, 40), (32, 32)))
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float] | None = None,
        *,
        stages: int = 4,
        strides: Sequence[Sequence[int]] | None = None,
        searched_strides: Sequence[int] | None = None,
        dilations: Sequence[int] = (1, 2, 3),
        dilated_stages: Sequence[int] | None = None,
        activations: Sequence[str] = ("LEAKYRELU", "RELU", "ELU"),
        patch_count: int = 5,
        min_cells: int = 4,
        overrides: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.shape = tuple(int(s) for s in shape)
        self.spacing = tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * len(self.shape)
        if len(self.shape) not in (2, 3) or len(self.spacing) != len(self.shape):
            raise ValueError(f"shape and spacing must both have 2 or 3 axes, got {self.shape} and {self.spacing}.")
        self.stages = stages
        self.base_strides: tuple[tuple[int, ...], ...] = (
            tuple(base_strides(self.shape, self.spacing, stages=stages)) if strides is None else freeze(strides)
        )
        if len(self.base_strides) != stages or any(len(s) != len(self.shape) for s in self.base_strides):
            raise ValueError(f"strides must be {stages} tuples of {len(self.shape)}, got {self.base_strides}.")
        overrides = dict(overrides or {})
        searched_strides = range(3, stages + 1) if searched_strides is None else searched_strides
        dilated_stages = range(2, stages + 1) if dilated_stages is None else dilated_stages
        for name, chosen in (("searched_strides", searched_strides), ("dilated_stages", dilated_stages)):
            if not all(1 <= s <= stages for s in chosen):
                raise ValueError(f"{name} must be stages from 1 to {stages}, got {tuple(chosen)}.")

        for name, given in {"dilations": dilations, "activations": activations, **overrides}.items():
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise TypeError(f"the options of {name} must be a list, got {given!r}.")
        keep = (1,) * len(self.shape)
        strides_of: dict[str, Sequence[Any]] = {
            f"stride_{s}": overrides.get(f"stride_{s}") or [self.base_strides[s - 1], keep] for s in searched_strides
        }
        if not all(isinstance(o, str) for o in overrides.get("activation", activations)):
            raise TypeError(f"activations must be names of MONAI's Act factory, got {list(activations)}.")
        for name, given in strides_of.items():
            if not all(isinstance(o, Sequence) and len(o) == len(keep) for o in given):
                raise ValueError(f"every option of {name} must be a list of {len(keep)} strides, got {given}.")
        stages_options = [strides_of.get(f"stride_{s}", [own]) for s, own in enumerate(self.base_strides, 1)]
        self.unit = total_stride([tuple(map(math.lcm, *options)) for options in stages_options], len(keep))
        sizes = [
            patch_sizes(s, u, count=patch_count, min_cells=min_cells)
            for s, u in zip(self.shape, self.unit, strict=True)
        ]
        options: dict[str, tuple[Sequence[Any], str]] = {}
        options["patch_hw"] = (
            [tuple(axis[min(k, len(axis) - 1)] for axis in sizes[:2]) for k in range(patch_count)],
            "training",
        )
        if len(self.shape) == 3:
            options["patch_d"] = (sizes[2], "training")
        options.update({name: (given, "network") for name, given in strides_of.items()})
        options.update({f"dilation_{s}": (dilations, "network") for s in dilated_stages})
        options["activation"] = (activations, "network")
        options.update({f"skip_{i}_{j}": (SKIP_OPTIONS, "network") for i, j in skip_points(stages)})

        unknown = sorted(set(overrides) - set(options))
        if unknown:
            raise ValueError(f"overrides name no decision of the space: {unknown}; it has {list(options)}.")
        super().__init__([Decision(n, overrides.get(n, o), kind=k) for n, (o, k) in options.items()])
        for decision in self.decisions:
            if decision.name in ("patch_hw", "patch_d"):
                unit = self.unit[:2] if decision.name == "patch_hw" else self.unit[2:]
                bad = [o for o in decision.options if any(s % u for s, u in zip(_axes(o), unit, strict=True))]
                if bad:
                    raise ValueError(f"options {bad} of {decision.name!r} must be multiples of the strides {unit}.")
        self._fits: Callable[[Architecture], bool] | None = None
        self._prepare()

    def _prepare(self) -> None:
        """Set the base network and the largest one."""
        wanted: dict[str, Any] = {f"stride_{s}": stride for s, stride in enumerate(self.base_strides, 1)}
        wanted |= {f"dilation_{s}": 1 for s in range(1, self.stages + 1)}
        wanted |= {f"skip_{i}_{j}": i == j for i, j in skip_points(self.stages)}
        self._cheapest = {d.name: min(d.options, key=partial(_demand, d.name)) for d in self.decisions}
        base = {d.name: wanted[d.name] if wanted.get(d.name) in d.options else d.options[0] for d in self.decisions}
        feasible = [a for a in self.with_every_patch(base) if self.is_feasible(a)]
        if not feasible:
            raise ValueError(
                f"the base network {base} is not feasible with any patch: give dilation 1, larger patches or more "
                "memory."
            )
        self._base = feasible[0]
        self._largest = self._first(
            lambda d: sorted(d.options, key=lambda o: (-_demand(d.name, o), o != self._base[d.name]))
        )

    def _renew(self) -> None:
        """A limit that was learnt later may forbid the base network's patch, or the largest network."""
        if self._fits is not None and not all(self.is_feasible(a) for a in (self._base, self._largest)):
            self._prepare()

    @property
    def base(self) -> Architecture:
        """The base network, with the largest patch with which it is feasible."""
        self._renew()
        return self._base

    @property
    def largest(self) -> Architecture:
        """The first of the largest options, decided in turn, that are feasible together."""
        self._renew()
        return self._largest

    def _first(self, ordered: Callable[[Decision], Sequence[Any]]) -> Architecture:
        """Decide everything in turn for the first feasible option in an order."""
        values: dict[str, Any] = {}
        for decision in self.decisions:
            values[decision.name] = next(o for o in ordered(decision) if self.allows({**values, decision.name: o}))
        return Architecture(values)

    def with_every_patch(self, architecture: Mapping[str, Any]) -> list[Architecture]:
        """The same network with every patch of the space, the largest first."""
        patches = [d for d in self.decisions if d.kind == "training"]
        variants = [
            Architecture({**architecture, **dict(zip((d.name for d in patches), sizes, strict=True))})
            for sizes in itertools.product(*(d.options for d in patches))
        ]
        return sorted(variants, key=lambda a: -math.prod(self.patch(a)))

    def restrict(self, fits: Callable[[Architecture], bool]) -> RonasSpace:
        """The same space without the architectures that do not fit.

        An option is feasible where its cheapest completion fits: smallest patch, most strides, fewest skips.

        Args:
            fits: tells it; if it holds for an architecture, it must hold for every cheaper one.

        Raises:
            ValueError: when the base network fits with no patch.
        """
        space = copy.copy(self)
        space._fits = fits
        space._prepare()
        return space

    @property
    def cheapest(self) -> Architecture:
        """Smallest patch, most strides, fewest skips; whatever else costs no memory is the first option."""
        return Architecture(self._cheapest)

    def allows(self, decided: Mapping[str, Any]) -> bool:
        """Whether the last value of ``decided`` is feasible.

        A dilation is where its outer taps can fall inside the stage's feature map on some axis. In a restricted space
        the cheapest completion must fit as well. A decoder level may drop every skip; nothing else is forbidden.
        """
        if self._fits is not None and not self._fits(Architecture({**self._cheapest, **decided})):
            return False
        name = list(decided)[-1]
        if not name.startswith("dilation_") or decided[name] == 1:
            return True
        stage = int(name.rsplit("_", 1)[1])
        stride = total_stride(self.strides(decided)[:stage], len(self.shape))
        size = max(p // s for p, s in zip(self.patch(decided), stride, strict=True))
        return int(decided[name]) < size

    def patch(self, architecture: Mapping[str, Any]) -> tuple[int, ...]:
        """Training patch of an architecture, voxels per axis."""
        in_plane = tuple(architecture["patch_hw"])
        return (*in_plane, int(architecture["patch_d"])) if "patch_d" in architecture else in_plane

    def strides(self, architecture: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
        """Stride of every stage of an architecture."""
        return tuple(
            tuple(architecture.get(f"stride_{s}", self.base_strides[s - 1])) for s in range(1, self.stages + 1)
        )

    def network_kwargs(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of :class:`~monai_ronas.networks.nets.RonasUNet` that an architecture decides."""
        return {
            "strides": self.strides(architecture),
            "dilations": tuple(int(architecture.get(f"dilation_{s}", 1)) for s in range(1, self.stages + 1)),
            "act": architecture["activation"],
            "skips": tuple((i, j) for i, j in skip_points(self.stages) if architecture[f"skip_{i}_{j}"]),
        }


def skip_points(stages: int) -> list[tuple[int, int]]:
    """Pairs (decoder level, encoder stage) that a skip may join: six for four stages."""
    return [(i, j) for i in range(1, stages) for j in range(1, i + 1)]


def _axes(option: Any) -> tuple[int, ...]:
    return option if isinstance(option, tuple) else (option,)


def _demand(name: str, option: Any) -> int:
    """How much memory an option asks for, to compare options of one decision."""
    if name.startswith("patch_"):
        return math.prod(_axes(option))
    if name.startswith("stride_"):
        return -math.prod(option)
    return int(option) if name.startswith("skip_") else 0

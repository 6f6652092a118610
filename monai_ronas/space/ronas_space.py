# SPDX-License-Identifier: Apache-2.0
"""The search space, built from the shape and spacing of the data."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.space.architecture import Architecture
from monai_ronas.space.decision import Decision, freeze
from monai_ronas.space.geometry import base_strides, scaled_channels, total_stride
from monai_ronas.space.options import (
    PATCH_NAMES,
    check_by_stage,
    check_extra,
    check_options,
    check_patches,
    check_stages,
    demand,
    is_fixed,
    patch_options,
    patch_unit,
    skip_points,
    stride_options,
)
from monai_ronas.space.search_space import SearchSpace

SKIP_OPTIONS = (False, True)
_OWN_NAMES = ("patch_", "stride_", "width", "dilation_", "activation", "skip_")
PATCH_RATIO = 0.5**0.5
"""Ratio of a patch's length along an axis to that of the next larger one in a geometric series: half the area."""


class RonasSpace(SearchSpace):
    """Patch, resolution, strides, width, dilation, activation and skip points.

    The decisions of Bae et al., MICCAI 2019 are the patch, the strides of the deeper stages, dilation, activation and
    skips; the working resolution (``stride_1``), the second stride and ``width`` are ours. With its defaults the space
    is the paper's; ``searched_strides``, ``patch_ratio`` and ``widths`` open the others.

    Stage 1 is the finest. Decisions, in order, for four stages in three dimensions: ``patch_hw`` (both in-plane axes
    together), ``patch_d``, ``stride_1`` .. ``stride_4`` as far as they are searched, ``width`` (a factor of the planned
    channels), ``dilation_2`` .. ``dilation_4``, ``activation`` and ``skip_i_j`` (decoder level ``i`` adds the features
    of encoder stage ``j <= i``; six of them). In two dimensions there is no ``patch_d``. A stride or width that has
    only one option is not a decision.

    The base network has the first activation, the base strides, width 1, dilation 1, the skips with ``i == j`` (where
    that is no option of a decision, the first one), and the patch ``patch``, or the largest smaller one with which it
    is feasible.

    Args:
        shape: voxels per axis of the volumes, in-plane axes first, after preprocessing. Patches do not exceed it.
        spacing: voxel size per axis, in mm. Default: isotropic.
        stages: number of resolution stages.
        strides: strides of the base network, one tuple per stage. Default: :func:`base_strides`.
        kernel_sizes: of the convolutions of each stage, one tuple per stage, odd. Default: 3 along every axis.
        searched_strides: stages whose stride is searched: the base network's, or 1 on every axis; for stage 1 also the
            data's own :func:`halving`. Default: from the third, as in the paper.
        dilations: options of the dilation rate.
        dilated_stages: stages whose dilation is searched; the others have dilation 1. Default: from the second.
        activations: options of the activation, names of MONAI's ``Act`` factory.
        widths: options of the factor of the channels.
        patch: patch of the base network, voxels per axis, a multiple of the strides; an option beside the others.
            Default: the largest.
        patch_count: how many candidates the paper's patch formula makes per axis.
        patch_ratio: None for the paper's formula, :func:`patch_sizes`; else the ratio of :func:`patch_series`.
        min_cells: fewest voxels along an axis of the deepest feature map in training.
        overrides: decision names to options of your own, for what the arguments above do not cover, such as
            ``{"patch_d": [32, 16]}``. An empty list is refused; one option fixes the decision.
        extra: decisions of your own, taken after the others, such as the weight of a loss. The network ignores them:
            what trains it reads them in ``network.architecture``. The base network has the first option.

    Raises:
        SettingError: when a stage does not exist, a kernel's size is even, an override names no decision, the options
            of a decision are not a list, an activation is not a name, a width is not positive, an own patch is not a
            multiple of the strides, extra is not a list of decisions or one has a name of the space's own, or the base
            network is feasible with no patch.

    Example:
        >>> space = RonasSpace((35, 50, 36))
        >>> [d.name for d in space][:4], space["patch_hw"].options
        (['patch_hw', 'patch_d', 'stride_3', 'stride_4'], ((32, 48), (32, 40), (32, 32)))
        >>> space = RonasSpace((190, 142, 88), searched_strides=(1, 2, 3, 4), patch_ratio=0.5, widths=(1, 0.5))
        >>> space["stride_1"].options, space["patch_d"].options, space["width"].options
        (((1, 1, 1), (2, 2, 2)), (88, 40, 32), (1, 0.5))
        >>> space = RonasSpace((32, 32, 32), extra=[Decision("ce_weight", [1.0, 0.3], kind="training")])
        >>> space.base["ce_weight"]
        1.0
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float] | None = None,
        *,
        stages: int = 4,
        strides: Sequence[Sequence[int]] | None = None,
        kernel_sizes: Sequence[Sequence[int]] | None = None,
        searched_strides: Sequence[int] | None = None,
        dilations: Sequence[int] = (1, 2, 3),
        dilated_stages: Sequence[int] | None = None,
        activations: Sequence[str] = ("LEAKYRELU", "RELU", "ELU"),
        widths: Sequence[float] = (1.0,),
        patch: Sequence[int] | None = None,
        patch_count: int = 5,
        patch_ratio: float | None = None,
        min_cells: int = 4,
        overrides: Mapping[str, Sequence[Any]] | None = None,
        extra: Sequence[Decision] = (),
    ) -> None:
        self.shape = tuple(int(s) for s in shape)
        self.spacing = tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * len(self.shape)
        if len(self.shape) not in (2, 3) or len(self.spacing) != len(self.shape):
            raise SettingError(
                f"shape and spacing must both have 2 or 3 axes, received {self.shape} and {self.spacing}."
            )
        self.stages = stages
        self.min_cells = min_cells
        self.base_patch = None if patch is None else tuple(int(p) for p in patch)
        self.base_strides: tuple[tuple[int, ...], ...] = (
            tuple(base_strides(self.shape, self.spacing, stages=stages)) if strides is None else freeze(strides)
        )
        check_by_stage("strides", self.base_strides, stages, len(self.shape))
        self.kernel_sizes: tuple[tuple[int, ...], ...] = freeze(kernel_sizes or [(3,) * len(self.shape)] * stages)
        check_by_stage("kernel_sizes", self.kernel_sizes, stages, len(self.shape), odd=True)
        if not isinstance(overrides or {}, Mapping):
            raise SettingError(f"overrides must give a list of options for each decision, received {overrides!r}.")
        overrides = dict(overrides or {})
        searched_strides = range(3, stages + 1) if searched_strides is None else searched_strides
        dilated_stages = range(2, stages + 1) if dilated_stages is None else dilated_stages
        check_stages(stages, searched_strides=searched_strides, dilated_stages=dilated_stages)
        check_options(overrides, dilations=dilations, activations=activations, widths=widths)
        widths = overrides.get("width", widths)
        searched = stride_options(
            self.shape, self.spacing, self.base_strides, searched_strides, overrides, min_cells=min_cells
        )
        self.unit = patch_unit(self.base_strides, searched)
        patches, self._largest_patch = patch_options(
            self.shape, self.unit, self.base_patch, count=patch_count, ratio=patch_ratio, min_cells=min_cells
        )
        options: dict[str, tuple[Sequence[Any], str]] = {name: (given, "training") for name, given in patches.items()}
        options.update({f"stride_{s}": (given, "network") for s, given in searched.items()})
        options["width"] = (widths, "network")
        options.update({f"dilation_{s}": (dilations, "network") for s in dilated_stages})
        options["activation"] = (activations, "network")
        options.update({f"skip_{i}_{j}": (SKIP_OPTIONS, "network") for i, j in skip_points(stages)})

        unknown = sorted(set(overrides) - set(options))
        if unknown:
            raise SettingError(f"overrides name no decision of the space: {unknown}; it has {list(options)}.")
        decisions = [Decision(n, overrides.get(n, o), kind=k) for n, (o, k) in options.items()]
        self._fixed = {d.name: d.options[0] for d in decisions if is_fixed(d)}
        check_extra(extra, _OWN_NAMES)
        self.extra = tuple(extra)
        super().__init__([*(d for d in decisions if d.name not in self._fixed), *self.extra])
        check_patches(self.decisions, self.unit)
        self._fits: Callable[[Architecture], bool] | None = None
        self._prepare()

    def _prepare(self) -> None:
        """Set the base network and the largest one."""
        wanted: dict[str, Any] = {f"stride_{s}": stride for s, stride in enumerate(self.base_strides, 1)}
        wanted |= {f"dilation_{s}": 1 for s in range(1, self.stages + 1)}
        wanted |= {f"skip_{i}_{j}": i == j for i, j in skip_points(self.stages)} | {"width": 1.0}
        base = {d.name: d.options[0] for d in self.decisions}
        base |= {d.name: wanted[d.name] for d in self.decisions if d.name in wanted and wanted[d.name] in d.options}
        limit = self.base_patch or (math.inf,) * len(self.shape)
        patches = [
            a
            for a in self.with_every_patch(base)
            if all(p <= most for p, most in zip(self.patch(a), limit, strict=True))
        ]
        feasible = [a for a in patches if self.is_feasible(a)]
        if not feasible:
            raise SettingError(
                f"the base network {base} is not feasible with any patch: give dilation 1, larger patches or more "
                "memory."
            )
        self._base = feasible[0]
        self._largest = self._first(
            lambda d: sorted(d.options, key=lambda o: (-demand(d.name, o), o != self._base[d.name]))
        )

    def _renew(self) -> None:
        """A limit that was learnt later may forbid the base network's patch, or the largest network."""
        if self._fits is not None and not all(self.is_feasible(a) for a in (self._base, self._largest)):
            self._prepare()

    @property
    def base(self) -> Architecture:
        """The base network, with its own patch or the largest smaller one with which it is feasible."""
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
        patches = [d for d in self.decisions if d.name in PATCH_NAMES]
        variants = [
            Architecture({**architecture, **dict(zip((d.name for d in patches), sizes, strict=True))})
            for sizes in itertools.product(*(d.options for d in patches))
        ]
        return sorted(variants, key=lambda a: -math.prod(self.patch(a)))

    def restrict(self, fits: Callable[[Architecture], bool]) -> RonasSpace:
        """The same space without the architectures that do not fit.

        An option is feasible where its cheapest completion fits: smallest patch, most strides, least width, fewest
        skips.

        Args:
            fits: tells it; if it holds for an architecture, it must hold for every cheaper one.

        Raises:
            SettingError: when the base network fits with no patch.
        """
        space = copy.copy(self)
        space._fits = fits
        space._prepare()
        return space

    @property
    def cheapest(self) -> Architecture:
        """Smallest patch, most strides, least width, fewest skips; what else costs no memory is the first option."""
        return self._completed({})

    def _completed(self, decided: Mapping[str, Any]) -> Architecture:
        """The cheapest completion of what is decided, in a geometry that is possible."""
        values = dict(decided)
        for decision in self.decisions:
            if decision.name not in values:
                ordered = sorted(decision.options, key=partial(demand, decision.name))
                values[decision.name] = next(
                    (o for o in ordered if self._has_room({**values, decision.name: o})), ordered[-1]
                )
        return Architecture(values)

    def allows(self, decided: Mapping[str, Any]) -> bool:
        """Whether the last value of ``decided`` is feasible.

        A patch is a multiple of the network's strides and has ``min_cells`` cells at the deepest stage, or all that
        the data has. A dilation is where its outer taps can fall inside the stage's feature map on some axis with a
        kernel of more than 1. In a restricted space the cheapest completion must fit as well. A decoder level may drop
        every skip; nothing else is forbidden.
        """
        name = list(decided)[-1]
        if not self._has_room(decided):
            return False
        if name.startswith("dilation_") and decided[name] != 1:
            stage = int(name.rsplit("_", 1)[1])
            stride = total_stride(self.strides(decided)[:stage], len(self.shape))
            cells = (p // s for p, s in zip(self.patch(decided), stride, strict=True))
            joined = (c for c, kernel in zip(cells, self.kernel_sizes[stage - 1], strict=True) if kernel > 1)
            if int(decided[name]) >= max(joined, default=0):
                return False
        return self._fits is None or self._fits(self._completed(decided))

    def _has_room(self, decided: Mapping[str, Any]) -> bool:
        """Whether the patch can take the strides decided last, with the least strides in what is undecided."""
        if not list(decided)[-1].startswith("stride_"):
            return True
        strides = []
        for stage, own in enumerate(self.base_strides, 1):
            options = self._options(f"stride_{stage}", own)
            strides.append(decided.get(f"stride_{stage}") or tuple(map(min, *options, own)))
        total = total_stride(strides, len(self.shape))
        own = self.base_patch or self._largest_patch  # a volume or a plan may have fewer cells
        patches = zip(self.patch(decided), total, own, self.unit, strict=True)
        return all(p % t == 0 and p // t >= min(self.min_cells, most // u) for p, t, most, u in patches)

    def _options(self, name: str, otherwise: Any) -> Sequence[Any]:
        if name in self._fixed:
            return [self._fixed[name]]
        return next((d.options for d in self.decisions if d.name == name), [otherwise])

    def patch(self, architecture: Mapping[str, Any]) -> tuple[int, ...]:
        """Training patch of an architecture, voxels per axis."""
        in_plane = tuple(architecture["patch_hw"])
        return (*in_plane, int(architecture["patch_d"])) if "patch_d" in architecture else in_plane

    def strides(self, architecture: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
        """Stride of every stage of an architecture."""
        fixed = [self._fixed.get(f"stride_{s}", own) for s, own in enumerate(self.base_strides, 1)]
        return tuple(tuple(architecture.get(f"stride_{s}", own)) for s, own in enumerate(fixed, 1))

    @property
    def widths(self) -> tuple[float, ...]:
        """Options of the factor of the channels."""
        return tuple(float(w) for w in self._options("width", 1.0))

    def channels(self, architecture: Mapping[str, Any], planned: Sequence[int]) -> tuple[int, ...]:
        """Channels of the stages of an architecture, from those that are planned."""
        return scaled_channels(planned, float(architecture.get("width", self.widths[0])))

    def network_kwargs(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of :class:`~monai_ronas.networks.nets.RonasUNet` that an architecture decides by itself."""
        return {
            "strides": self.strides(architecture),
            "kernel_sizes": self.kernel_sizes,
            "dilations": tuple(int(architecture.get(f"dilation_{s}", 1)) for s in range(1, self.stages + 1)),
            "act": architecture["activation"],
            "skips": tuple((i, j) for i, j in skip_points(self.stages) if architecture[f"skip_{i}_{j}"]),
        }

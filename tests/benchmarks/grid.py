# SPDX-License-Identifier: Apache-2.0
"""Fixed plans, each of which a person might have chosen for the data without a search.

The grid crosses resolution (full, or the data's own halving), width (a factor of 16, 32, ... channels, up to 320) and
patch (the median volume, or a part of its area). Its widths of 0.75 and 1.5 lie a factor of two apart, so that none of
8 to 32 channels at the finest stage is further than a factor of 1.5 from one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from monai_ronas.data import Fingerprint, Study
from monai_ronas.resources import PlanInputs, Speed
from monai_ronas.resources.speed import update_macs
from monai_ronas.space import (
    Draft,
    Plan,
    anisotropic_kernels,
    base_strides,
    halving,
    make_plan,
    scaled_channels,
    total_stride,
)
from monai_ronas.space.planner import MAX_CHANNELS

RESOLUTIONS = ("full", "half")
WIDTHS = (0.75, 1.5)
AREAS = (1.0, 0.5, 0.25)
_USUAL = Speed(seconds_per_mac=1e-11, seconds_per_update=5e-11, seconds_per_step=0.05)  # by which stages must pay


def fixed_plan(
    strides: Sequence[Sequence[int]],
    channels: Sequence[int],
    patch: Sequence[int],
    *,
    batch_size: int = 2,
    kernel_sizes: Sequence[Sequence[int]] = (),
) -> Plan:
    """A plan from which nothing is searched."""
    patch = tuple(int(p) for p in patch)
    return Plan(
        strides=tuple(tuple(s) for s in strides),
        channels=tuple(channels),
        patch=patch,
        largest_patch=patch,
        batch_size=batch_size,
        widths=(1.0,),
        seconds_per_step=None,
        steps=None,
        reasons=(),
        kernel_sizes=tuple(tuple(k) for k in kernel_sizes),
    )


def cell_plan(fingerprint: Fingerprint, *, resolution: str, width: float, area: float) -> Plan:
    """A cell of the grid.

    Of the drafts that the planner has for the resolution, it has the patch whose area is nearest to the wanted one. The
    area is that of the plane of the two axes that are longest in mm.

    Args:
        fingerprint: of the data.
        resolution: ``"full"`` or ``"half"``.
        width: factor of the channels.
        area: of the patch, as a part of the median volume's.

    Raises:
        ValueError: for another resolution.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"resolution must be one of {RESOLUTIONS}, received {resolution!r}.")
    shape, spacing = fingerprint.median_shape, fingerprint.target_spacing
    stem = (1,) * len(shape) if resolution == "full" else halving(shape, spacing)
    plane = sorted(range(len(shape)), key=lambda a: -shape[a] * spacing[a])[:2]

    def distance(draft: Draft) -> float:
        return abs(math.log(math.prod(draft.patch[a] / shape[a] for a in plane) / area))

    chosen = min((d for d in _drafts(fingerprint) if d.strides[0] == stem), key=distance)
    channels = [min(c, MAX_CHANNELS) for c in scaled_channels(chosen.channels, width)]
    kernels = anisotropic_kernels(chosen.patch, spacing, chosen.strides)
    return fixed_plan(chosen.strides, channels, chosen.patch, kernel_sizes=kernels)


def make_grid(
    fingerprint: Fingerprint, *, widths: Sequence[float] = WIDTHS, areas: Sequence[float] = AREAS
) -> dict[str, dict[str, Any]]:
    """The arguments of :func:`cell_plan` for each cell, by name; of cells with the same plan the first one only."""
    cells: dict[Plan, dict[str, Any]] = {}
    for resolution in RESOLUTIONS:
        for width in widths:
            for area in areas:
                cell = {"resolution": resolution, "width": width, "area": area}
                cells.setdefault(cell_plan(fingerprint, **cell), cell)
    return {"grid_{resolution}_{width:g}_{area:g}".format(**cell): cell for cell in cells.values()}


def first_version_plan(study: Study) -> Plan:
    """The base network of version 0.1: full resolution, full patch, four stages of 16 to 128 channels."""
    shape = study.search_shape
    strides = base_strides(shape, study.fingerprint.target_spacing, stages=4)
    unit = total_stride(strides, len(shape))
    return fixed_plan(strides, (16, 32, 64, 128), [max(s // u, 1) * u for s, u in zip(shape, unit, strict=True)])


def _drafts(fingerprint: Fingerprint) -> list[Draft]:
    """What the planner chooses from, in its order: it asks of each draft whether it fits."""
    inputs = PlanInputs(
        fingerprint.median_shape,
        fingerprint.target_spacing,
        fingerprint.in_channels,
        fingerprint.out_channels,
        memory_gb=math.inf,
    )
    asked: list[Draft] = []

    def fits(draft: Draft) -> bool:
        asked.append(draft)
        return True

    def seconds_of(draft: Draft) -> float:
        costs = inputs.costs(draft)
        updates = update_macs(draft.channels, inputs.in_channels, axes=len(draft.patch))
        return _USUAL.seconds(draft.crops * costs.macs(costs.space.base), updates)

    make_plan(inputs.shape, inputs.spacing, fits=fits, seconds_of=seconds_of, seconds=1.0)
    return asked

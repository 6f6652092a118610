# SPDX-License-Identifier: Apache-2.0
"""Architectures that differ from one by a step in what decides most."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from monai_ronas.space.architecture import Architecture
from monai_ronas.space.options import demand
from monai_ronas.space.ronas_space import RonasSpace


def neighbours(space: RonasSpace, architecture: Architecture) -> dict[Architecture, str]:
    """One step up and down in resolution, width and patch, with what each is; those that are feasible.

    With another resolution or width, the patch is the largest feasible one that is not larger. A step of the patch
    is the one that is nearest to half or twice the voxels.

    Example:
        >>> space = RonasSpace((128, 128, 64), searched_strides=(1,), widths=(1, 0.5), patch_ratio=0.5**0.5)
        >>> list(neighbours(space, space.base).values())
        ['coarser', 'narrower', 'smaller patch']
    """
    found: dict[Architecture, str] = {}
    size = math.prod(space.patch(architecture))

    def add(origin: str, variants: Iterable[Architecture]) -> None:
        feasible = next((a for a in variants if space.is_feasible(a)), None)
        if feasible is not None and feasible != architecture:
            found.setdefault(feasible, origin)

    for name, up, down in (("stride_1", "finer", "coarser"), ("width", "wider", "narrower")):
        if name not in architecture:
            continue
        options = sorted(space[name].options, key=partial(demand, name), reverse=True)
        place = options.index(architecture[name])
        for origin, step in ((up, place - 1), (down, place + 1)):
            if 0 <= step < len(options):
                changed = space.with_every_patch(architecture.replace(**{name: options[step]}))
                add(origin, (a for a in changed if math.prod(space.patch(a)) <= size))
    patches = [(a, math.prod(space.patch(a)) / size) for a in space.with_every_patch(architecture)]
    for origin, wanted, low, high in (("larger patch", 2.0, 1.0, 3.0), ("smaller patch", 0.5, 1 / 3, 1.0)):
        steps = [(abs(math.log(ratio / wanted)), a) for a, ratio in patches if low < ratio < high]
        add(origin, (a for _, a in sorted(steps, key=lambda step: step[0])))
    return found

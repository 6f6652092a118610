# SPDX-License-Identifier: Apache-2.0
"""What the decisions of a space offer: strides, patches and skips, from the shape of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.space.decision import Decision, freeze
from monai_ronas.space.geometry import halving, patch_series, patch_sizes, total_stride

PATCH_NAMES = ("patch_hw", "patch_d")
Size = tuple[int, ...]


def check_by_stage(name: str, values: Any, stages: int, axes: int, *, odd: bool = False) -> None:
    """Refuse what does not give a positive whole number for each axis of each stage.

    Args:
        name: of the argument.
        values: as it is frozen, a tuple of tuples if it is right.
        stages: how many there are.
        axes: of the data.
        odd: the numbers must be odd.

    Raises:
        SettingError: with such values.
    """
    whole = (
        isinstance(values, tuple)
        and len(values) == stages
        and all(isinstance(v, tuple) and len(v) == axes for v in values)
        and all(type(n) is int and n > 0 for v in values for n in v)
    )
    if not whole or (odd and any(n % 2 == 0 for v in values for n in v)):
        raise SettingError(f"{name} must be {stages} tuples of {axes}{' odd numbers' * odd}, received {values}.")


def check_stages(stages: int, **chosen: Sequence[int]) -> None:
    """Refuse stages that do not exist, with the name of the argument."""
    for name, values in chosen.items():
        if not all(1 <= s <= stages for s in values):
            raise SettingError(f"{name} must be stages from 1 to {stages}, received {tuple(values)}.")


def check_extra(extra: Any, own_names: tuple[str, ...]) -> None:
    """Refuse decisions of the user's own that are none, or that take a name of the space's.

    Raises:
        SettingError: with such decisions.
    """
    if not all(isinstance(d, Decision) for d in extra):
        raise SettingError(f"extra must be a list of decisions, received {extra!r}.")
    taken = [d.name for d in extra if d.name.startswith(own_names)]
    if taken:
        raise SettingError(f"extra decisions must not begin with {', '.join(own_names)}, received {taken}.")


def check_options(overrides: Mapping[str, Any], *, dilations: Any, activations: Any, widths: Any) -> None:
    """Refuse options that are not lists, and dilations, widths and activations of another kind.

    Args:
        overrides: options of the user's own by name of the decision; those of ``width`` and ``activation`` go before
            the arguments.
        dilations: options of every dilation.
        activations: options of the activation.
        widths: options of the width.

    Raises:
        SettingError: with such options.
    """
    for name, given in {"dilations": dilations, "activations": activations, "widths": widths, **overrides}.items():
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise SettingError(f"the options of {name} must be a list, received {given!r}.")
    widths = overrides.get("width", widths)
    if not all(isinstance(w, (int, float)) and w > 0 for w in widths):
        raise SettingError(f"widths must be positive factors of the channels, received {list(widths)}.")
    if not all(type(d) is int and d > 0 for d in dilations):
        raise SettingError(f"dilations must be positive whole numbers, received {list(dilations)}.")
    if not all(isinstance(o, str) for o in overrides.get("activation", activations)):
        raise SettingError(f"activations must be names of MONAI's Act factory, received {list(activations)}.")


def stride_options(
    shape: Size,
    spacing: Sequence[float],
    base: Sequence[Size],
    searched: Sequence[int],
    overrides: Mapping[str, Sequence[Any]],
    *,
    min_cells: int,
) -> dict[int, tuple[Size, ...]]:
    """Options of the stride of each searched stage, the base network's first.

    Args:
        shape: voxels per axis.
        spacing: of a voxel, in mm.
        base: strides of the base network, by stage.
        searched: stages, from 1.
        overrides: options of the user's own by name of the decision.
        min_cells: fewest voxels that a stride leaves on an axis.

    Raises:
        SettingError: when an own option is no stride for every axis.
    """
    keep = (1,) * len(shape)
    offered: dict[int, tuple[Size, ...]] = {}
    for stage in sorted(searched):
        options = [base[stage - 1], keep]
        if stage == 1:
            options.append(halving(shape, spacing, min_size=min_cells))
        given = overrides.get(f"stride_{stage}") or options
        if not all(isinstance(o, Sequence) and len(o) == len(keep) for o in given) or not all(
            type(k) is int and k > 0 for o in given for k in o
        ):
            raise SettingError(
                f"every option of stride_{stage} must be a list of {len(keep)} strides, received {given}."
            )
        offered[stage] = tuple(dict.fromkeys(freeze(o) for o in given))
    return offered


def patch_unit(base: Sequence[Size], options: Mapping[int, Sequence[Size]]) -> Size:
    """What every patch is a multiple of: the strides of the base network, and of options beside them."""
    stages = []
    for stage, own in enumerate(base, 1):
        offered = options.get(stage, [own])
        stages.append(own if stage == 1 and own in offered else tuple(map(math.lcm, *offered, own)))
    return total_stride(stages, len(base[0]))


def patch_options(
    shape: Size, unit: Size, own: Size | None, *, count: int, ratio: float | None, min_cells: int
) -> tuple[dict[str, Sequence[Any]], Size]:
    """Options of the patch decisions, the largest first, and the largest that the shape allows.

    Args:
        shape: voxels per axis.
        unit: see :func:`patch_unit`.
        own: the base network's patch, an option beside the others.
        count: candidates of the paper's formula per axis.
        ratio: None for that formula; else see :func:`~monai_ronas.space.geometry.patch_series`.
        min_cells: fewest cells of the deepest stage.
    """
    sizes = [
        patch_sizes(s, u, count=count, min_cells=min_cells)
        if ratio is None
        else patch_series(s, u, ratio=ratio, min_cells=min_cells)
        for s, u in zip(shape, unit, strict=True)
    ]
    largest = tuple(axis[0] for axis in sizes)
    steps = range(max(len(axis) for axis in sizes[:2]))
    in_plane = [tuple(axis[min(k, len(axis) - 1)] for axis in sizes[:2]) for k in steps]
    if own is not None:
        in_plane = sorted({*in_plane, own[:2]}, key=lambda size: (-math.prod(size), size))
        sizes[2:] = [sorted({*axis, size}, reverse=True) for axis, size in zip(sizes[2:], own[2:], strict=True)]
    return dict(zip(PATCH_NAMES, [in_plane, *sizes[2:]], strict=False)), largest


def check_patches(decisions: Sequence[Decision], unit: Size) -> None:
    """Refuse patches that the strides do not divide.

    Raises:
        SettingError: with such options.
    """
    for decision in decisions:
        if decision.name in PATCH_NAMES:
            own = unit[:2] if decision.name == "patch_hw" else unit[2:]
            bad = [o for o in decision.options if any(s % u for s, u in zip(_axes(o), own, strict=True))]
            if bad:
                raise SettingError(f"options {bad} of {decision.name!r} must be multiples of the strides {own}.")


def skip_points(stages: int) -> list[tuple[int, int]]:
    """Pairs (decoder level, encoder stage) that a skip may join: six for four stages."""
    return [(i, j) for i in range(1, stages) for j in range(1, i + 1)]


def is_fixed(decision: Decision) -> bool:
    """Whether it is not a decision: a stride or a width without a choice."""
    return len(decision) == 1 and (decision.name == "width" or decision.name.startswith("stride_"))


def demand(name: str, option: Any) -> float:
    """How much memory an option asks for, to compare options of one decision."""
    if name.startswith("patch_"):
        return math.prod(_axes(option))
    if name.startswith("stride_"):
        return -math.prod(option)
    return float(option) if name.startswith("skip_") or name == "width" else 0


def _axes(option: Any) -> tuple[int, ...]:
    return option if isinstance(option, tuple) else (option,)

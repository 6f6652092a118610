# SPDX-License-Identifier: Apache-2.0
"""The rules by which the plan follows from the data, the memory and the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from monai_ronas.errors import SettingError
from monai_ronas.space.geometry import anisotropic_kernels, base_strides, halving, total_stride
from monai_ronas.space.plan import Draft, Plan, times
from monai_ronas.space.ronas_space import PATCH_RATIO

MAX_STAGES = 6
WIDTHS = (1.0, 0.5, 1.5)
"""Factors of the planned channels that a search may choose."""
MAX_CHANNELS = 320
"""Most channels of a stage: nnU-Net's limit for volumes (Isensee et al., Nature Methods 18, 2021)."""
LEAST_STEPS, MOST_STEPS = 300, 5_000
"""Training steps that a plan wants, in a short and in a long time; see :func:`wanted_steps`."""
FINE_STEPS = 10_000
"""Training steps with which a patch of :data:`FINE_VOXELS` at full resolution may cover little of the volume."""
WIDE_STEPS = 10_000
"""Training steps that a network of 32 channels must have to be planned instead of one of 16."""
LEAST_COVER = 0.25
"""Least share of the median volume that a patch at full resolution covers, where the time is short: the share below
which nnU-Net adds a network of lower resolution."""
FINE_VOXELS = 96**3
"""Voxels with which a patch at full resolution may cover less, where it has :data:`FINE_STEPS` steps."""
FIRST_CHANNELS = 16
_LEAST_VOXELS, _SMALL_VOXELS = 8**3, 24**3  # of a patch at the working resolution; where memory or time is short
_LEAST_STAGES, _STAGE_COST = 4, 0.15  # a further stage costs no more than this share of a step
_PADDING = 0.15  # of the median volume's length: a patch is rounded up to the strides for no more


class NothingFitsError(SettingError):
    """No network fits into the memory."""


def make_plan(
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    fits: Callable[[Draft], bool],
    seconds_of: Callable[[Draft], float] | None = None,
    seconds: float | None = None,
    channels: Sequence[int] | None = None,
    batch_size: int = 2,
) -> Plan:
    """Decide resolution, stages, channels and patch of the base network, and the range of the search.

    The patch is the median volume where memory and time allow it, else smaller, halved in area in turn along the axes
    that are longest in mm. The stages halve the patch while 4 voxels remain (nnU-Net's rule), six
    at most; where the time is limited, a stage after the fourth must not make a step longer by more than 15 %.
    With a time, a network must have :func:`wanted_steps` in it. At full resolution its patch must also cover
    :data:`LEAST_COVER` of the median volume, or have :data:`FINE_VOXELS` voxels and :data:`FINE_STEPS` steps; otherwise
    the network works at the data's own halving. Channels begin with 16 and double from stage to stage; they are twice
    as many where that leaves :data:`WIDE_STEPS` steps.

    Args:
        shape: of the median volume, voxels per axis.
        spacing: voxel size per axis, in mm.
        fits: whether a training step of a draft fits into the memory.
        seconds_of: seconds of a training step of a draft. Default: not known.
        seconds: time for training. Default: no limit.
        channels: of the stages, instead of those that would be planned; their number is the number of stages.
        batch_size: crops in a batch.

    Returns:
        the plan.

    Raises:
        NothingFitsError: when not even the smallest draft fits.

    Example:
        >>> plan = make_plan((36, 50, 35), (1, 1, 1), fits=lambda draft: True)
        >>> plan.patch, plan.channels
        ((40, 56, 40), (16, 32, 64, 128))
    """
    timed = seconds_of if seconds is not None else None

    def steps(draft: Draft) -> float:
        return math.inf if timed is None or seconds is None else seconds / timed(draft)

    listed = list(_drafts(shape, spacing, channels, batch_size))
    if timed is not None and channels is None:
        listed = [_shallower(draft, timed) for draft in listed]
    drafts = [d for d in listed if fits(d)]
    if not drafts:
        raise NothingFitsError("no network fits into the memory, whatever its patch and resolution.")
    best, reasons = _choose(drafts, shape, steps, steps(listed[0]))
    if channels is None and timed is not None:
        wide = replace(best, channels=tuple(min(2 * c, MAX_CHANNELS) for c in best.channels))
        if steps(wide) >= WIDE_STEPS and fits(wide):
            best = wide
    if timed is not None and seconds is not None:
        reasons.insert(0, f"{seconds:.0f} s are left for training: {_count(steps(best))} steps of {timed(best):.3g} s")
    rounded = _rounded(shape, total_stride(best.strides, len(shape)))
    largest = tuple(max(a, b) for a, b in zip(rounded, best.patch, strict=True))
    return Plan(
        strides=best.strides,
        channels=best.channels,
        patch=best.patch,
        largest_patch=largest,
        batch_size=batch_size,
        widths=WIDTHS,
        seconds_per_step=None if seconds_of is None else seconds_of(best),
        steps=None if timed is None else int(steps(best)),
        reasons=tuple(reasons),
        kernel_sizes=anisotropic_kernels(largest, spacing, best.strides),
    )


def wanted_steps(whole: float) -> float:
    """Steps that a plan wants, by those that the whole volume at full resolution would have in the same time.

    Their geometric mean with 10,000: what more time brings is shared between more steps and more voxels in each.
    Between :data:`LEAST_STEPS` and :data:`MOST_STEPS`, after which larger patches bring more than more steps.

    Example:
        >>> wanted_steps(100), wanted_steps(1e6)
        (1000.0, 5000)
    """
    return min(max(math.sqrt(whole * 10_000), LEAST_STEPS), MOST_STEPS)


def _choose(
    drafts: Sequence[Draft], shape: Sequence[int], steps: Callable[[Draft], float], whole: float
) -> tuple[Draft, list[str]]:
    """The first draft with steps enough; drafts are in the order of preference, the full resolution first."""
    volume, wanted = math.prod(shape), wanted_steps(whole)

    def cover(draft: Draft) -> float:
        return min(math.prod(draft.patch) / volume, 1.0)

    def is_narrow(draft: Draft) -> bool:
        return max(draft.strides[0]) == 1 and cover(draft) < LEAST_COVER

    large = [d for d in drafts if math.prod(d.patch) >= _SMALL_VOXELS * math.prod(d.strides[0])]
    large = large or list(drafts)[:1]
    for draft in large:
        least: float = wanted
        if is_narrow(draft):
            least = FINE_STEPS if math.prod(draft.patch) >= FINE_VOXELS else math.inf
        if steps(draft) >= least:
            return draft, _reasons(draft, cover(draft))
    wide = [d for d in large if not is_narrow(d)] or large
    cheapest = max(wide, key=steps)
    short = f"no network has {wanted:.0f} steps in the time, give more: this is the cheapest that sees enough"
    return cheapest, [short, *_reasons(cheapest, cover(cheapest))]


def _reasons(draft: Draft, cover: float) -> list[str]:
    texts = [f"the patch covers {cover:.0%} of the median volume"]
    if max(draft.strides[0]) > 1:
        texts.append(f"the network works at 1/{times(draft.strides[0])} of the resolution, to see more in the time")
    return texts


def _drafts(
    shape: Sequence[int], spacing: Sequence[float], channels: Sequence[int] | None, crops: int
) -> Iterator[Draft]:
    """Drafts in the order of preference: full resolution before half, large patches before small."""
    keep = (1,) * len(shape)
    halved = halving(shape, spacing)
    for stem in (keep, halved) if halved != keep else (keep,):
        known: set[tuple[int, ...]] = set()
        for target in _targets(shape, spacing, least=_LEAST_VOXELS * math.prod(stem)):
            strides = _topology(target, spacing, stem, None if channels is None else len(channels))
            patch = _rounded(target, total_stride(strides, len(shape)))
            if patch not in known:
                known.add(patch)
                widths = channels or [min(FIRST_CHANNELS * 2**i, MAX_CHANNELS) for i in range(len(strides))]
                yield Draft(strides, tuple(int(c) for c in widths), patch, crops)


def _targets(shape: Sequence[int], spacing: Sequence[float], *, least: int) -> Iterator[tuple[int, ...]]:
    """Lengths of patches from the whole volume down to some ``least`` voxels, the longest axes in mm first."""
    size = [float(s) for s in shape]
    yield tuple(shape)
    while True:
        lengths = [s * v for s, v in zip(size, spacing, strict=True)]
        size = [
            s * PATCH_RATIO if length > PATCH_RATIO * max(lengths) else s
            for s, length in zip(size, lengths, strict=True)
        ]
        if math.prod(size) < least:
            return
        yield tuple(max(round(s), 1) for s in size)


def _shallower(draft: Draft, seconds_of: Callable[[Draft], float]) -> Draft:
    """The draft without the last stages, down to :data:`_LEAST_STAGES`, that cost more than they bring."""
    while len(draft.channels) > _LEAST_STAGES:
        fewer = replace(draft, strides=draft.strides[:-1], channels=draft.channels[:-1])
        if seconds_of(draft) <= (1 + _STAGE_COST) * seconds_of(fewer):
            break
        draft = fewer
    return draft


def _topology(
    size: Sequence[int], spacing: Sequence[float], stem: Sequence[int], stages: int | None
) -> tuple[tuple[int, ...], ...]:
    """Strides of the stages: the stem's, then halvings while they pay."""
    worked = [max(s // k, 1) for s, k in zip(size, stem, strict=True)]
    voxels = [v * k for v, k in zip(spacing, stem, strict=True)]
    strides = base_strides(worked, voxels, stages=stages or MAX_STAGES)
    if stages is None:
        strides = [strides[0], *(s for s in strides[1:] if max(s) > 1)]
        strides += [strides[0]] * max(2 - len(strides), 0)
    return (tuple(stem), *(tuple(s) for s in strides[1:]))


def _rounded(size: Sequence[int], unit: Sequence[int]) -> tuple[int, ...]:
    """Lengths in multiples of the strides: up where that adds little, else down."""
    lengths = []
    for s, u in zip(size, unit, strict=True):
        up, down = -(-s // u) * u, max(s // u, 1) * u
        lengths.append(up if up - s <= _PADDING * s else down)
    return tuple(lengths)


def _count(number: float) -> str:
    return "any number of" if math.isinf(number) else str(int(number))

# SPDX-License-Identifier: Apache-2.0
"""What is planned, by data, memory and time."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from monai_ronas.space import Plan, RonasSpace, halving, make_plan, patch_series, scaled_channels, total_stride

SETS = {
    "hippocampus": ((36, 50, 35), (1, 1, 1)),
    "heart slices": ((216, 256, 9), (1.56, 1.56, 10)),
    "atria": ((190, 142, 88), (1, 1, 1)),
    "CT": ((512, 512, 300), (0.8, 0.8, 1.5)),
    "prostate": ((320, 320, 20), (0.6, 0.6, 3.6)),
    "tiny": ((9, 7, 5), (1, 1, 1)),
}


def volume(draft):
    """Work of a step, about: values of the finest feature maps."""
    return draft.crops * math.prod(draft.patch) * draft.channels[0] / math.prod(draft.strides[0])


def plan(name, *, seconds=None, rate=1e-7, most=math.inf, **more):
    shape, spacing = SETS[name]
    return make_plan(
        shape,
        spacing,
        fits=lambda draft: volume(draft) <= most,
        seconds_of=lambda draft: rate * volume(draft),
        seconds=seconds,
        **more,
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seconds", [None, 10, 600, 40_000])
@pytest.mark.parametrize("most", [1e5, 1e6, math.inf])
def test_a_plan_is_a_space_whose_base_network_it_is(name, seconds, most):
    made = plan(name, seconds=seconds, most=most)
    space = RonasSpace(spacing=SETS[name][1], **made.space_arguments())
    assert space.patch(space.base) == made.patch
    assert space.strides(space.base) == made.strides
    assert space.channels(space.base, made.channels) == made.channels
    unit = total_stride(made.strides, 3)
    assert all(p % u == 0 for p, u in zip(made.patch, unit, strict=True))
    assert len(made.channels) == len(made.strides) >= 2
    assert Plan.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.words().count("why") == 1


def test_a_space_has_the_last_word():
    made = plan("heart slices", seconds=600)
    planned = RonasSpace(spacing=SETS["heart slices"][1], **made.space_arguments())
    assert made.within(planned) == made
    papers = RonasSpace(SETS["heart slices"][0], SETS["heart slices"][1])
    told = made.within(papers)
    assert (told.strides, told.patch) == (papers.strides(papers.base), papers.patch(papers.base))
    assert told.strides != made.strides
    assert (told.seconds_per_step, told.steps, told.widths) == (None, None, (1.0,))
    assert "strides  1x1x1, " in told.words()
    assert "kernels" not in told.words()
    assert "why  the space or the memory says so" in told.words()


@pytest.mark.parametrize("setting", ["widths", "kernel_sizes", "patch"])
def test_any_other_base_network_has_neither_pace_nor_reasons(setting):
    made = plan("heart slices", seconds=600)
    unit = total_stride(made.strides, 3)
    other = {"widths": (0.5,), "kernel_sizes": ((5, 5, 1),) * made.stages, "patch": tuple(2 * u for u in unit)}
    arguments = made.space_arguments() | {setting: other[setting]}
    space = RonasSpace(spacing=SETS["heart slices"][1], min_cells=1, **arguments)
    assert made.steps is not None
    for before in (made, replace(made, kernel_sizes=())):  # as plans of before kernels were planned
        told = before.within(space)
        assert (told.steps, told.seconds_per_step, len(told.reasons)) == (None, None, 1)
        assert told.channels == space.channels(space.base, made.channels)
        assert (told.patch, told.kernel_sizes) == (space.patch(space.base), space.kernel_sizes)


def test_kernels_of_thick_slices_are_flat_where_the_network_is_fine():
    whole, halved = plan("heart slices"), plan("heart slices", seconds=600)
    assert (whole.strides[0], halved.strides[0]) == ((1, 1, 1), (2, 2, 1))
    assert whole.kernel_sizes[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert halved.kernel_sizes[:2] == ((3, 3, 1), (3, 3, 3))
    assert "kernels  3x3x1, 3x3x1, 3x3x3" in whole.words()
    assert set(plan("atria").kernel_sizes) == {(3, 3, 3)}
    assert "kernels" not in plan("atria").words()


def test_kernels_of_single_slices_have_no_weights_for_neighbours():
    made = make_plan((64, 64, 1), (1.0, 1.0, 1.0), fits=lambda draft: True)
    assert (made.patch[2], made.largest_patch[2]) == (1, 1)
    assert set(made.kernel_sizes) == {(3, 3, 1)}


def test_a_plan_from_before_there_were_flat_kernels_has_none():
    content = plan("heart slices").to_dict()
    del content["kernel_sizes"]
    made = Plan.from_dict(json.loads(json.dumps(content)))
    space = RonasSpace(spacing=SETS["heart slices"][1], **made.space_arguments())
    assert set(space.network_kwargs(space.base)["kernel_sizes"]) == {(3, 3, 3)}


@pytest.mark.parametrize("name", SETS)
def test_patches_follow_the_median_volume(name):
    """Without limits the patch is the median volume, and padding adds little."""
    made = plan(name)
    for patch, size in zip(made.patch, SETS[name][0], strict=True):
        assert 0.5 * size < patch <= 1.15 * size
    assert made.steps is None


def test_full_resolution_where_the_time_allows_it():
    assert plan("atria", seconds=1e6).strides[0] == (1, 1, 1)
    short = plan("atria", seconds=200)
    assert short.strides[0] == (2, 2, 2)
    assert short.seconds_per_step * short.steps == pytest.approx(200, rel=0.01)
    assert plan("heart slices", seconds=100).strides[0] == (2, 2, 1)  # thick slices stay


def test_more_time_is_more_steps_and_more_operations_in_each():
    plans = [plan("atria", seconds=seconds) for seconds in (60, 600, 6000, 60_000)]
    for few, many in itertools.pairwise(plans):
        assert few.steps < many.steps
        assert few.seconds_per_step <= many.seconds_per_step
    assert plans[0].seconds_per_step < plans[-1].seconds_per_step


def test_where_the_time_is_short_the_network_still_sees_enough():
    """At half resolution, and not on a few voxels at full resolution."""
    short = plan("CT", seconds=0.5)
    assert short.strides[0] == (2, 2, 2)
    assert math.prod(short.patch) >= 24**3 * 8
    assert "steps in the time, give more: this is the cheapest" in short.words()


def test_memory_limits_the_patch():
    assert math.prod(plan("CT", most=1e7).patch) < math.prod(plan("CT").patch)
    with pytest.raises(ValueError, match="no network fits into the memory"):
        plan("CT", most=10)


def test_given_channels_are_kept():
    made = plan("atria", channels=(8, 16, 24))
    assert made.channels == (8, 16, 24)
    assert len(made.strides) == 3


def test_the_halving_leaves_thick_axes():
    assert halving((216, 256, 9), (1.5, 1.5, 10)) == (2, 2, 1)
    assert halving((320, 320, 20), (0.6, 0.6, 3.6)) == (2, 2, 1)
    assert halving((4, 64, 64), (1, 1, 1)) == (1, 2, 2)


@pytest.mark.parametrize(
    ("size", "unit", "ratio", "min_cells", "expected"),
    [
        (512, 16, 0.5, 4, [512, 256, 128, 64]),
        (100, 8, 0.5**0.5, 4, [96, 64, 48, 32]),
        (20, 16, 0.5, 4, [16]),
        (10, 1, 0.5, 4, [10, 5, 4]),
    ],
)
def test_patches_in_a_geometric_series(size, unit, ratio, min_cells, expected):
    assert patch_series(size, unit, ratio=ratio, min_cells=min_cells) == expected


def test_a_series_wants_a_ratio():
    with pytest.raises(ValueError, match="ratio between 0 and 1"):
        patch_series(64, 8, ratio=1.0)


def test_widths_keep_the_channels_in_fours():
    assert scaled_channels((16, 32, 320), 1.5) == (24, 48, 480)
    assert scaled_channels((16, 24, 6), 0.5) == (8, 12, 3)
    assert scaled_channels((6, 7, 9), 1) == (6, 7, 9)

# SPDX-License-Identifier: Apache-2.0
"""One step from an architecture in resolution, width and patch."""

import math

import pytest

from monai_ronas.space import PATCH_RATIO, RonasSpace, neighbours


def isotropic():
    own = {"searched_strides": (1, 2, 3, 4), "widths": (1, 0.5, 2), "patch_ratio": PATCH_RATIO}
    return RonasSpace((128, 128, 64), **own)


def thin():
    """Ten thick slices, which a step of the resolution leaves alone."""
    own = {"searched_strides": (1, 2, 3, 4), "widths": (1, 0.5), "patch_ratio": PATCH_RATIO, "patch": (160, 160, 10)}
    return RonasSpace((320, 320, 10), (1.4, 1.4, 8.0), **own)


def told(space, architecture):
    """What is different in each neighbour."""
    found = {}
    for neighbour, origin in neighbours(space, architecture).items():
        assert space.is_feasible(neighbour)
        assert neighbour != architecture
        found[origin] = {k: v for k, v in neighbour.items() if v != architecture[k]}
    return found


def test_from_the_base_network_of_an_isotropic_volume():
    space = isotropic()
    assert told(space, space.base) == {
        "coarser": {"stride_1": (2, 2, 2)},
        "wider": {"width": 2},
        "narrower": {"width": 0.5},
        "smaller patch": {"patch_d": 32},
    }


def test_from_the_base_network_of_thick_slices():
    space = thin()
    assert told(space, space.base) == {
        "coarser": {"stride_1": (2, 2, 1)},
        "narrower": {"width": 0.5},
        "larger patch": {"patch_hw": (224, 224)},
        "smaller patch": {"patch_hw": (112, 112)},
    }


def test_from_the_other_side_it_is_the_other_way():
    space = thin()
    coarse = space.base.replace(stride_1=(2, 2, 1), width=0.5)
    found = told(space, coarse)
    assert (found["finer"], found["wider"]) == ({"stride_1": (1, 1, 1)}, {"width": 1})
    assert {"coarser", "narrower"}.isdisjoint(found)


def test_a_step_of_the_patch_is_about_half_or_twice_the_voxels():
    space = thin()
    for neighbour, origin in neighbours(space, space.base).items():
        ratio = math.prod(space.patch(neighbour)) / math.prod(space.patch(space.base))
        assert ratio == pytest.approx({"larger patch": 2, "smaller patch": 0.5}.get(origin, 1), rel=0.05), origin


def test_what_has_one_option_is_no_step():
    space = RonasSpace((16, 16, 16), stages=3)
    assert neighbours(space, space.base) == {}


def test_a_patch_that_is_too_small_for_a_coarser_resolution_has_no_such_neighbour():
    space = isotropic()
    smallest = space.with_every_patch(space.base)[-1]
    assert space.patch(smallest) == (32, 32, 32)
    assert {"coarser", "smaller patch"}.isdisjoint(told(space, smallest))


def test_a_restricted_space_has_those_that_fit():
    space = thin()
    voxels = math.prod(space.patch(space.base))

    def fits(architecture):
        work = math.prod(space.patch(architecture)) * architecture["width"] / math.prod(architecture["stride_1"])
        return work <= voxels / 4

    limited = space.restrict(fits)
    base = limited.base
    assert math.prod(space.patch(base)) <= voxels / 4
    found = told(limited, base)
    assert set(found) == {"coarser", "narrower", "smaller patch"}
    coarse = base.replace(stride_1=(2, 2, 1))
    finer = told(limited, coarse.replace(patch_hw=(160, 160)))["finer"]
    assert finer["stride_1"] == (1, 1, 1)
    assert finer["patch_hw"] == base["patch_hw"]  # the largest that fits at full resolution

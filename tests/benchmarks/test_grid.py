# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from monai_ronas.data import MSDDataset, Split, Study
from monai_ronas.space import RonasSpace
from tests.benchmarks.grid import cell_plan, first_version_plan, make_grid
from tests.toys import toy_fingerprint

HEART = toy_fingerprint((221, 256, 9), (1.5625, 1.5625, 10.0), classes=4)


@pytest.mark.parametrize(
    ("facts", "halved", "patches"),
    [
        (HEART, (2, 2, 1), {(224, 256, 10), (160, 192, 10), (112, 128, 10)}),
        (toy_fingerprint((190, 142, 88)), (2, 2, 2), {(192, 160, 96), (128, 112, 96), (96, 80, 96)}),
        (toy_fingerprint((35, 50, 36)), (2, 2, 2), {(40, 56, 40), (40, 40, 28), (28, 28, 20)}),
    ],
)
def test_the_grid_crosses_resolution_width_and_area(facts, halved, patches):
    plans = [cell_plan(facts, **cell) for cell in make_grid(facts).values()]
    assert len(set(plans)) == len(plans) == 12
    assert {plan.strides[0] for plan in plans} == {(1, 1, 1), halved}
    assert {plan.channels[0] for plan in plans} == {12, 24}
    assert {plan.patch for plan in plans} == patches
    for plan in plans:  # the search's space takes it as its base network
        space = RonasSpace(spacing=facts.target_spacing, **plan.space_arguments())
        assert space.patch(space.base) == plan.patch
        assert space.strides(space.base) == plan.strides


def test_cells_with_the_same_plan_are_one():
    cells = make_grid(toy_fingerprint((35, 50, 36)), widths=[1.0], areas=[1.0, 0.9])
    assert list(cells) == ["grid_full_1_1", "grid_half_1_1"]
    assert cells["grid_half_1_1"] == {"resolution": "half", "width": 1.0, "area": 1.0}


def test_the_area_is_of_the_plane_of_the_longest_axes():
    facts = toy_fingerprint((9, 256, 221), (10.0, 1.5625, 1.5625))
    for area in (1.0, 0.5, 0.25):
        patch = cell_plan(facts, resolution="full", width=1.0, area=area).patch
        assert math.isclose(patch[1] * patch[2] / (256 * 221), area, rel_tol=0.1)
        assert patch[0] == 10


def test_no_stage_has_more_channels_than_320():
    plan = cell_plan(toy_fingerprint((512, 512, 300), (0.8, 0.8, 1.5)), resolution="full", width=1.5, area=1.0)
    assert plan.channels == (24, 48, 96, 192, 320, 320)


def test_an_unknown_resolution_is_refused():
    with pytest.raises(ValueError, match=r"resolution must be one of .*'full', 'half'.*, received 'quarter'"):
        cell_plan(HEART, resolution="quarter", width=1.0, area=1.0)


def test_the_first_version_takes_the_whole_volume_at_full_resolution(tmp_path):
    data = MSDDataset(tmp_path, "data", "", "", {0: "MRI"}, {0: "0", 1: "1"}, ())
    plan = first_version_plan(Study(data, HEART, Split((), (), ())))
    assert plan.strides == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2))
    assert (plan.patch, plan.channels, plan.batch_size) == ((216, 256, 8), (16, 32, 64, 128), 2)

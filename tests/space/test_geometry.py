# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_ronas.space import anisotropic_kernels, base_strides, patch_sizes, total_stride


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        # the printed formula with S = 2, S^4 = 16: Brain, Heart, Prostate
        (240, 16, [240, 224, 208, 192, 176]),
        (155, 16, [144, 128, 112, 96, 80]),
        (320, 16, [320, 304, 288, 272, 256]),
        (115, 16, [112, 96, 80, 64]),
        (20, 16, [16]),
        # with S = 1 on the thin axis
        (20, 1, [20, 19, 18, 17, 16]),
        (35, 8, [32]),
        (50, 8, [48, 40, 32]),
        (36, 8, [32]),
        (5, 8, [8]),
    ],
)
def test_patch_sizes(size, unit, expected):
    assert patch_sizes(size, unit) == expected


def test_patch_sizes_refuses_nonsense():
    with pytest.raises(ValueError, match="must be positive"):
        patch_sizes(0, 8)


def test_thin_axis_is_not_pooled_away():
    assert base_strides((320, 320, 20), (0.6, 0.6, 3.6), stages=4) == [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)]
    assert base_strides((320, 320, 20), (1, 1, 1), stages=4)[-1] == (2, 2, 1)
    assert base_strides((64, 64, 1), (1, 1, 5), stages=4) == [(1, 1, 1), *[(2, 2, 1)] * 3]


@pytest.mark.parametrize(("shape", "spacing"), [((64, 64, 1), (1, 1, 1)), ((64, 64, 7), (3, 3, 1))])
def test_an_axis_of_few_fine_voxels_does_not_keep_the_others_from_being_halved(shape, spacing):
    assert base_strides(shape, spacing, stages=5) == [(1, 1, 1), *[(2, 2, 1)] * 4]


@pytest.mark.parametrize(
    ("spacing", "strides", "kernels"),
    [
        ((1.5, 1.5, 10), [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)], ["331", "331", "333", "333"]),  # as nnU-Net
        ((1.5, 1.5, 10), [(2, 2, 1), (2, 2, 1), (2, 2, 2)], ["331", "333", "333"]),
        ((0.6, 3.6, 0.6), [(1, 1, 1), (2, 1, 2), (2, 1, 2)], ["313", "313", "333"]),
        ((1, 1, 2), [(1, 1, 1), (2, 2, 2)], ["333", "333"]),
        ((1, 1, 2.01), [(1, 1, 1), (2, 2, 2)], ["331", "331"]),
        ((1, 5), [(1, 1), (2, 1), (2, 1)], ["31", "31", "33"]),
    ],
)
def test_kernels_do_not_join_slices_that_are_far_apart(spacing, strides, kernels):
    shape = (64,) * len(spacing)
    assert anisotropic_kernels(shape, spacing, strides) == tuple(tuple(int(k) for k in kernel) for kernel in kernels)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 3, 1), (1, 1, 5)])
def test_kernels_do_not_join_what_is_never_there(spacing):
    strides = [(1, 1, 1), *[(2, 2, 1)] * 4]
    assert set(anisotropic_kernels((64, 64, 1), spacing, strides)) == {(3, 3, 1)}


@pytest.mark.parametrize(
    ("shape", "spacing"), [((320, 320, 12), (1, 1, 1)), ((12, 320, 320), (1, 1, 1)), ((320, 320, 7), (3, 3, 1))]
)
def test_kernels_stay_whole_in_the_plane_of_a_few_fine_slices(shape, spacing):
    strides = base_strides(shape, spacing, stages=6)
    assert set(anisotropic_kernels(shape, spacing, strides)) == {(3, 3, 3)}


def test_total_stride():
    assert total_stride([(1, 1, 1), (2, 2, 1), (2, 2, 2)], 3) == (4, 4, 2)
    assert total_stride([], 2) == (1, 1)

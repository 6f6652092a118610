# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.benchmarks.nnunet import plan_topology, topology

KEEP, ALL, PLANE = (1, 1, 1), (2, 2, 2), (2, 2, 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "classes", "patch", "strides"),
    [  # the patches are those of nnU-Net's published plans, with the thick axis last
        ((36, 50, 35), (1, 1, 1), 3, (40, 56, 40), (KEEP, ALL, ALL, ALL)),
        ((138, 169, 138), (1, 1, 1), 4, (128, 128, 128), (KEEP, ALL, ALL, ALL, ALL, ALL)),
        ((512, 512, 482), (0.77, 0.77, 1), 3, (128, 128, 128), (KEEP, ALL, ALL, ALL, ALL, ALL)),
        ((320, 319, 20), (0.62, 0.62, 3.6), 3, (320, 256, 20), (KEEP, PLANE, PLANE, ALL, ALL, PLANE, PLANE)),
        ((221, 256, 9), (1.5625, 1.5625, 10), 4, (224, 256, 10), (KEEP, PLANE, PLANE, ALL, PLANE, PLANE)),
    ],
)
def test_the_patch_has_the_volumes_proportions_and_fits_eight_gb(shape, spacing, classes, patch, strides):
    planned = plan_topology(shape, spacing, classes)
    assert planned.patch == patch
    assert planned.strides == strides
    assert planned.channels == (32, 64, 128, 256, 320, 320, 320)[: len(strides)]


def test_kernels_span_a_thick_axis_once_its_voxels_are_near_the_others():
    assert topology((192, 192, 64), (0.8, 0.8, 1.7)).kernels == ((3, 3, 1), *[(3, 3, 3)] * 5)
    assert topology((64, 64, 64), (1, 1, 1)).kernels == ((3, 3, 3),) * 5


def test_a_single_axis_is_halved_while_twelve_voxels_are_left():
    assert topology((8, 12, 4), (1, 1, 1)).strides == (KEEP, (2, 2, 1))
    assert topology((4, 12, 4), (1, 1, 1)).strides == (KEEP, (1, 2, 1))
    assert topology((4, 11, 4), (1, 1, 1)).strides == (KEEP,)

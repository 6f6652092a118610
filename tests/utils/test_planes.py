# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from monai_ronas.utils import three_planes


def test_planes_go_through_the_largest_cross_section():
    image = torch.arange(2 * 6 * 5 * 4, dtype=torch.float32).reshape(2, 6, 5, 4)
    label = torch.zeros(1, 6, 5, 4)
    label[0, 1:4, 2, 3] = 2
    label[0, 4, 1:5, 3] = 1  # four voxels in x = 4, five in z = 3
    prediction = label.roll(1, dims=1)
    planes = three_planes(image, label, prediction)
    assert [(p.axis, p.index, p.shape) for p in planes] == [(0, 4, (5, 4)), (1, 2, (6, 4)), (2, 3, (6, 5))]
    for plane in planes:
        assert np.array_equal(plane.label, label[0].select(plane.axis, plane.index).numpy())
        assert np.array_equal(plane.prediction, prediction[0].select(plane.axis, plane.index).numpy())
        grey = image[0].select(plane.axis, plane.index).numpy()
        assert plane.image.dtype == np.uint8
        assert plane.image.argmin() == grey.argmin()
        assert plane.image.min() == 0
        assert plane.image.max() == 255


def test_without_foreground_it_is_that_of_the_prediction_or_the_middle():
    nothing = torch.zeros(1, 7, 6, 5)
    assert [p.index for p in three_planes(nothing, nothing, nothing)] == [3, 3, 2]
    found = nothing.clone()
    found[0, 1, 0, 4] = 1
    assert [p.index for p in three_planes(nothing, nothing, found)] == [1, 0, 4]
    block = nothing.clone()
    block[0, 2:7] = 1  # all equal: the middle of them
    assert three_planes(nothing, block, block)[0].index == 4


def test_large_planes_are_thinned_out_and_broken_images_shown():
    label = torch.zeros(1, 20, 9, 3, dtype=torch.int32)
    label[0, 10, 4, 1] = 300
    image = torch.full((1, 20, 9, 3), float("nan"))
    sagittal, coronal, axial = three_planes(image, label, label, most=8)
    assert sagittal.image.shape == (5, 3)
    assert coronal.image.shape == (7, 3)
    assert axial.image.shape == (7, 5)
    assert axial.shape == (20, 9)
    assert axial.label.max() == 0  # voxel 10 of the first axis has been left out
    assert sagittal.label.dtype == np.int32
    assert not axial.image.any()


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"must be of one size, received \(2, 2, 2\), \(2, 2, 2\), \(2, 2, 3\)"):
        three_planes(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 3))

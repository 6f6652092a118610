# SPDX-License-Identifier: Apache-2.0
"""The words about the preprocessing in a derived bundle's README."""

import pytest

from monai_ronas.bundle.readme import _preprocessing
from monai_ronas.data import Fingerprint

ZSCORE = {"mode": "zscore"}
CT = {"mode": "ct", "lower": -57.0, "upper": 164.0, "mean": 41.5, "std": 17.25}


@pytest.mark.parametrize(
    ("channels", "crop", "told"),
    [
        ([ZSCORE], False, "Each channel then has mean 0 and standard deviation 1."),
        ([ZSCORE], True, "Each channel then has mean 0 and standard deviation 1 over the voxels that are not 0."),
        ([CT, ZSCORE], False, "Each channel then has mean 0 and standard deviation 1."),
        (
            [CT],
            False,
            "Intensities are clipped to -57 to 164; then 41.5 is subtracted, and they are divided by 17.25.",
        ),
        (
            [CT, {**CT, "lower": -100.0, "mean": 40.0}],
            False,
            "Intensities are clipped to -100 to 164; then 41.5, 40 (by channel) is subtracted, and they are divided by "
            "17.25, 17.25.",
        ),
    ],
)
def test_the_preprocessing_is_told_as_it_is(channels, crop, told):
    fingerprint = Fingerprint(
        name="x",
        spatial_dims=3,
        modality=("CT",) * len(channels),
        labels={0: "background", 1: "organ"},
        num_cases=1,
        target_spacing=(0.5, 1.0, 2.25),
        median_shape=(32, 32, 32),
        max_shape=(32, 32, 32),
        min_shape=(32, 32, 32),
        crop_foreground=crop,
        normalization=tuple(channels),
    )
    first, *others, last = _preprocessing(fingerprint).splitlines()
    assert first == "Volumes are turned to RAS and resampled to 0.5x1x2.25 mm."
    assert others == (["They are cropped to the box around their voxels above 0."] if crop else [])
    assert last == told

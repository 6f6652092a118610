# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
from PIL import Image

from monai_ronas.utils import Plane
from monai_ronas.visualize import telling_cases
from monai_ronas.visualize.colours import class_rgb
from monai_ronas.visualize.segmentations import difference, legend, panels, png, segmentations
from tests.visualize.cases import NAN, TEST, TEST_CASES, make_planes


@pytest.mark.parametrize(
    ("per_case", "found"),
    [
        ([0.3, 0.1, 0.2], {"best": 0, "median": 2, "worst": 1}),
        ([0.4, 0.3, 0.1, 0.2], {"best": 0, "median": 3, "worst": 2}),
        ([NAN, 0.1, 0.2], {"best": 2, "worst": 1}),
        ([NAN, 0.1], {"best": 1}),
        ([NAN], {}),
    ],
)
def test_best_median_and_worst(per_case, found):
    assert telling_cases(per_case) == found


def test_panels_are_turned_as_radiologists_look_and_coloured():
    image = np.arange(6, dtype=np.uint8).reshape(3, 2) * 40
    label = np.array([[0, 1], [2, 0], [0, 0]], dtype=np.uint8)
    prediction = np.array([[0, 1], [1, 0], [0, 2]], dtype=np.uint8)
    found = panels(Plane(2, 0, (3, 2), image, label, prediction))
    assert list(found) == ["image", "label", "prediction", "difference"]
    assert all(p.shape == (2, 3, 3) for p in found.values())
    assert found["image"][..., 0].tolist() == [[200, 120, 40], [160, 80, 0]]  # the first axis leftwards, the second up
    mixed = (0.4 * 40 + 0.6 * np.array(class_rgb(1))).astype(int)
    assert found["label"][0, 2].tolist() == mixed.tolist()
    assert found["label"][1, 1].tolist() == (0.4 * 80 + 0.6 * np.array(class_rgb(2))).astype(int).tolist()
    assert found["prediction"][0, 2].tolist() == mixed.tolist()
    assert found["difference"][0, 2].tolist() == [20, 20, 20]
    assert found["difference"][0, 0].tolist() == (0.4 * 100 + 0.6 * np.array([0, 114, 178])).astype(int).tolist()
    assert difference(label, prediction).tolist() == [[0, 0], [3, 0], [0, 2]]


def test_a_picture_is_kept_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(picture))).convert("RGB")), picture)


def test_classes_keep_their_colours_and_have_their_names_in_the_legend():
    assert len({class_rgb(n) for n in range(1, 16)}) == 15
    with pytest.raises(ValueError, match="index must be that of a foreground class, 1 or more, received 0"):
        class_rgb(0)
    text = legend(["liver", "<i>tumour"])
    assert '<i style="background:#e69f00"></i>liver' in text
    assert '<i style="background:#56b4e9"></i>&lt;i&gt;tumour' in text
    for word in ("missed", "too much", "another class"):
        assert f"difference: {word}" in text


def test_three_cases_are_shown_with_their_dice_and_in_their_proportions():
    text = segmentations(make_planes(), TEST_CASES, TEST, ["anterior", "posterior"], (1.0, 1.0, 2.5))
    assert [t.split("<")[0] for t in text.split("<h3>")[1:]] == ["best: c4", "median: c1", "worst: c2"]
    assert "Dice 0.9000 (anterior 0.9500; posterior 0.8500)" in text
    assert "<p>Dice 0.5000</p>" in text  # it has one class only
    assert text.count("<img") == 3 * 3 * 4
    for what in ("image", "label", "prediction", "difference"):
        assert f'alt="{what} of case c4, sagittal plane 13"' in text
    assert text.count('aspect-ratio:40/80"') == 12  # 40 voxels of 1 mm, 32 of 2.5 mm
    assert text.count('aspect-ratio:32/40"') == 12

# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from monai_ronas.bundle import make_objective
from monai_ronas.losses import WeightedProduct
from monai_ronas.resources import ResourceEstimator
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore


def score(reward, seconds=1.0):
    return ChildScore(reward, (reward,), seconds, 1.0)


def test_dice_times_a_power_of_the_cost():
    objective = WeightedProduct(lambda s, a: a["cost"], reference=2.0, exponent=-0.5)
    assert objective(score(0.8), {"cost": 2.0}) == pytest.approx(0.8)
    assert objective(score(0.8), {"cost": 8.0}) == pytest.approx(0.4)
    assert objective(score(0.8), {"cost": 0.5}) == pytest.approx(1.6)
    assert math.isnan(objective(score(math.nan), {"cost": 8.0}))
    with pytest.raises(ValueError, match=r"exponent at most 0, received 2\.0 and 0\.1"):
        WeightedProduct(lambda s, a: 1.0, reference=2.0, exponent=0.1)


def test_costs_by_name_are_those_of_the_estimator():
    space = RonasSpace((48, 48, 48))
    resources = ResourceEstimator(space, channels=(8, 16, 32, 64), in_channels=1, out_channels=2)
    fine = space.base.replace(stride_4=(1, 1, 1))
    for name, cost in (("macs", resources.macs), ("memory", resources.inference_bytes)):
        ratio = cost(fine, space.shape) / cost(space.base, space.shape)
        assert ratio > 1
        objective = make_objective(name, resources, exponent=-0.07)
        assert objective(score(0.8), space.base) == pytest.approx(0.8)
        assert objective(score(0.8), fine) == pytest.approx(0.8 * ratio**-0.07)
    latency = make_objective("latency", resources, exponent=-0.07)
    assert latency(score(0.8, seconds=2.0), fine) == pytest.approx(0.8 * 2**-0.07)
    assert make_objective(None, resources, exponent=-0.07) is None
    assert make_objective("null", resources, exponent=-0.07) is None
    with pytest.raises(ValueError, match=r"cost must be null, latency or one of .*'macs'.*, received 'watts'"):
        make_objective("watts", resources, exponent=-0.07)

# SPDX-License-Identifier: Apache-2.0
"""The costs of an architecture, counted without building it; the speed of the device, measured; the plan from both."""

from monai_ronas.resources.costs import ArchitectureCosts
from monai_ronas.resources.estimator import ResourceEstimator
from monai_ronas.resources.planning import PlanInputs, plan_for, plan_search
from monai_ronas.resources.speed import Speed, measure_speed

__all__ = [
    "ArchitectureCosts",
    "PlanInputs",
    "ResourceEstimator",
    "Speed",
    "measure_speed",
    "plan_for",
    "plan_search",
]

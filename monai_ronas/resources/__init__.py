# SPDX-License-Identifier: Apache-2.0
from monai_ronas.resources.costs import ArchitectureCosts
from monai_ronas.resources.estimator import ResourceEstimator

__all__ = ["ArchitectureCosts", "ResourceEstimator"]

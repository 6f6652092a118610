# SPDX-License-Identifier: Apache-2.0
from monai_ronas.resources.estimator import ResourceEstimator

__all__ = ["ResourceEstimator"]

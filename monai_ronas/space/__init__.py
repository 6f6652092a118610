# SPDX-License-Identifier: Apache-2.0
from monai_ronas.space.architecture import Architecture
from monai_ronas.space.decision import Decision
from monai_ronas.space.geometry import base_strides, patch_sizes, total_stride
from monai_ronas.space.ronas_space import RonasSpace, skip_points
from monai_ronas.space.search_space import SearchSpace

__all__ = [
    "Architecture",
    "Decision",
    "RonasSpace",
    "SearchSpace",
    "base_strides",
    "patch_sizes",
    "skip_points",
    "total_stride",
]

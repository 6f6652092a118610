# SPDX-License-Identifier: Apache-2.0
"""Decisions, architectures, search spaces and the plan; pure Python, without torch."""

from monai_ronas.space.architecture import Architecture
from monai_ronas.space.decision import Decision
from monai_ronas.space.geometry import (
    anisotropic_kernels,
    base_strides,
    halving,
    patch_series,
    patch_sizes,
    scaled_channels,
    total_stride,
)
from monai_ronas.space.neighbours import neighbours
from monai_ronas.space.options import skip_points
from monai_ronas.space.plan import Draft, Plan
from monai_ronas.space.planner import LEAST_STEPS, WIDTHS, NothingFitsError, make_plan
from monai_ronas.space.ronas_space import PATCH_RATIO, RonasSpace
from monai_ronas.space.search_space import SearchSpace

__all__ = [
    "LEAST_STEPS",
    "PATCH_RATIO",
    "WIDTHS",
    "Architecture",
    "Decision",
    "Draft",
    "NothingFitsError",
    "Plan",
    "RonasSpace",
    "SearchSpace",
    "anisotropic_kernels",
    "base_strides",
    "halving",
    "make_plan",
    "patch_series",
    "patch_sizes",
    "scaled_channels",
    "skip_points",
    "total_stride",
    "neighbours",
]

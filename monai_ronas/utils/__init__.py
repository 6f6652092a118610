# SPDX-License-Identifier: Apache-2.0
"""The clock, signals to stop, many processes, files that are whole or not there."""

from monai_ronas.errors import TrainingError
from monai_ronas.utils.allocator import keep_freed_memory
from monai_ronas.utils.clock import TimeBudget
from monai_ronas.utils.collectives import fair_gb
from monai_ronas.utils.differences import differences
from monai_ronas.utils.files import flush_folder, unfinished, write_atomically
from monai_ronas.utils.memory import (
    available_memory_bytes,
    is_out_of_memory,
    memory_mb,
    spare_memory_gb,
    usable_memory_gb,
)
from monai_ronas.utils.planes import Plane, three_planes
from monai_ronas.utils.precision import half_type, has_fast_bfloat16, has_fast_half, needs_loss_scaling
from monai_ronas.utils.ranks import RankError, is_main, join_ranks, leave_to_main
from monai_ronas.utils.records import ChildScore, InferenceChoice, Reliability, SearchResult, TemperatureFit
from monai_ronas.utils.search_folder import accept_reports, report_folder
from monai_ronas.utils.seeds import set_seeds
from monai_ronas.utils.stopping import (
    Stopped,
    ignore_stop_signals,
    raise_if_stopped,
    stop_signals,
    stopping_signals,
    unstopped,
)
from monai_ronas.utils.trend import above_trend, detrend

__all__ = [
    "ChildScore",
    "InferenceChoice",
    "Plane",
    "RankError",
    "Reliability",
    "SearchResult",
    "Stopped",
    "TemperatureFit",
    "TimeBudget",
    "TrainingError",
    "above_trend",
    "accept_reports",
    "available_memory_bytes",
    "detrend",
    "differences",
    "fair_gb",
    "flush_folder",
    "half_type",
    "has_fast_bfloat16",
    "has_fast_half",
    "ignore_stop_signals",
    "is_main",
    "is_out_of_memory",
    "join_ranks",
    "keep_freed_memory",
    "leave_to_main",
    "memory_mb",
    "needs_loss_scaling",
    "raise_if_stopped",
    "report_folder",
    "set_seeds",
    "spare_memory_gb",
    "stop_signals",
    "stopping_signals",
    "three_planes",
    "unfinished",
    "unstopped",
    "usable_memory_gb",
    "write_atomically",
]

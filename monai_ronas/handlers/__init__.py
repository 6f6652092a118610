# SPDX-License-Identifier: Apache-2.0
"""Ignite handlers of a search: warm-up, training of the candidates, history, checkpoints, progress, report."""

from monai_ronas.handlers.case_planes import CasePlanes
from monai_ronas.handlers.checkpoint import SearchCheckpoint
from monai_ronas.handlers.child_training import ChildTraining
from monai_ronas.handlers.collapse import CollapseWarning
from monai_ronas.handlers.finite_steps import FiniteSteps
from monai_ronas.handlers.history import HistoryWriter, read_history
from monai_ronas.handlers.mean_gradients import MeanGradients
from monai_ronas.handlers.progress import SearchProgress, TrainingProgress
from monai_ronas.handlers.report import SearchReport
from monai_ronas.handlers.search_budget import SearchBudget
from monai_ronas.handlers.warm_up import WarmUp

__all__ = [
    "CasePlanes",
    "ChildTraining",
    "CollapseWarning",
    "FiniteSteps",
    "HistoryWriter",
    "MeanGradients",
    "SearchBudget",
    "SearchCheckpoint",
    "SearchProgress",
    "SearchReport",
    "TrainingProgress",
    "WarmUp",
    "read_history",
]

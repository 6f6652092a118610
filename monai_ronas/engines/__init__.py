# SPDX-License-Identifier: Apache-2.0
"""The search as MONAI engines: scoring, training in slices, the race, the final training."""

from monai_ronas.engines.calibration import Calibration, ReliabilityWatch
from monai_ronas.engines.contender import Contender
from monai_ronas.engines.controller_trainer import ControllerTrainer
from monai_ronas.engines.episode_events import EpisodeEvents
from monai_ronas.engines.exploitation import Exploitation
from monai_ronas.engines.forecast import Prior
from monai_ronas.engines.guarded_step import GuardedStep
from monai_ronas.engines.inference_mode import InferenceMode
from monai_ronas.engines.local_slices import LocalSlices
from monai_ronas.engines.patch_batch import PatchBatch
from monai_ronas.engines.phase import Phase
from monai_ronas.engines.race import Race
from monai_ronas.engines.reselection import Reselection
from monai_ronas.engines.scorer import ChildScorer, EpisodeSampler
from monai_ronas.engines.slice_trainer import SliceTrainer
from monai_ronas.engines.snapshots import Snapshots

__all__ = [
    "Calibration",
    "ChildScorer",
    "Contender",
    "ControllerTrainer",
    "EpisodeEvents",
    "EpisodeSampler",
    "Exploitation",
    "GuardedStep",
    "InferenceMode",
    "LocalSlices",
    "PatchBatch",
    "Phase",
    "Prior",
    "Race",
    "ReliabilityWatch",
    "Reselection",
    "SliceTrainer",
    "Snapshots",
]

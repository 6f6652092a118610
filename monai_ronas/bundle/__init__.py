# SPDX-License-Identifier: Apache-2.0
"""The settings of a search, export of the derived bundle, what its commands do, active learning in MONAI Label."""

from monai_ronas.bundle.active_learning import UncertaintyScoring, add_uncertainty, foreground_entropy
from monai_ronas.bundle.best_weights import BestWeights, renew_torchscript
from monai_ronas.bundle.cases import CaseList, evaluation_cases, tell_left_out, training_cases
from monai_ronas.bundle.class_inversion import InvertToClassesd
from monai_ronas.bundle.command_line import begin_command, refuse_misread_words, refuse_unknown_keys
from monai_ronas.bundle.export import BundleExporter
from monai_ronas.bundle.identity import search_identity
from monai_ronas.bundle.labelled_dice import LabelledDice
from monai_ronas.bundle.predictions import (
    PredictionFiles,
    SavePredictiond,
    WarnOfEmptyd,
    label_dtype,
)
from monai_ronas.bundle.protection import claim_folder
from monai_ronas.bundle.settings import Settings
from monai_ronas.bundle.steps import (
    make_objective,
    needs_augmentation,
    new_folder,
    plan_study,
    require_weights,
    validation_dataset,
)
from monai_ronas.bundle.summary import summary_table
from monai_ronas.bundle.uncertainty import Uncertainty
from monai_ronas.bundle.volumes import SoundVolumes, list_volumes

__all__ = [
    "BestWeights",
    "BundleExporter",
    "CaseList",
    "InvertToClassesd",
    "LabelledDice",
    "PredictionFiles",
    "SavePredictiond",
    "Settings",
    "SoundVolumes",
    "Uncertainty",
    "UncertaintyScoring",
    "WarnOfEmptyd",
    "add_uncertainty",
    "begin_command",
    "claim_folder",
    "evaluation_cases",
    "foreground_entropy",
    "label_dtype",
    "list_volumes",
    "make_objective",
    "needs_augmentation",
    "new_folder",
    "plan_study",
    "refuse_misread_words",
    "refuse_unknown_keys",
    "renew_torchscript",
    "require_weights",
    "search_identity",
    "summary_table",
    "tell_left_out",
    "training_cases",
    "validation_dataset",
]

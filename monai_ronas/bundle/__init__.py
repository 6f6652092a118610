# SPDX-License-Identifier: Apache-2.0
from monai_ronas.bundle.command_line import refuse_misread_words, refuse_unknown_keys
from monai_ronas.bundle.export import BundleExporter
from monai_ronas.bundle.labelled_dice import LabelledDice
from monai_ronas.bundle.predictions import (
    VolumeWriter,
    WarnOfEmptyd,
    label_dtype,
    name_prediction,
    prediction_name,
)
from monai_ronas.bundle.protection import claim_folder, protected, stop_in_a_sentence
from monai_ronas.bundle.readme import summary_table
from monai_ronas.bundle.settings import Settings, check_numbers
from monai_ronas.bundle.steps import (
    evaluation_cases,
    make_objective,
    new_folder,
    one_sentence,
    training_cases,
    validation_dataset,
)
from monai_ronas.bundle.volumes import SoundVolumes, list_volumes

__all__ = [
    "BundleExporter",
    "LabelledDice",
    "Settings",
    "SoundVolumes",
    "VolumeWriter",
    "WarnOfEmptyd",
    "check_numbers",
    "claim_folder",
    "evaluation_cases",
    "label_dtype",
    "list_volumes",
    "make_objective",
    "name_prediction",
    "new_folder",
    "one_sentence",
    "prediction_name",
    "protected",
    "refuse_misread_words",
    "refuse_unknown_keys",
    "stop_in_a_sentence",
    "summary_table",
    "training_cases",
    "validation_dataset",
]

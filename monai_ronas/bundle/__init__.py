# SPDX-License-Identifier: Apache-2.0
from monai_ronas.bundle.command_line import refuse_unknown_keys
from monai_ronas.bundle.export import BundleExporter
from monai_ronas.bundle.protection import claim_folder, protected
from monai_ronas.bundle.readme import summary_table
from monai_ronas.bundle.settings import Settings
from monai_ronas.bundle.steps import (
    evaluation_cases,
    list_volumes,
    make_objective,
    new_folder,
    one_sentence,
    training_cases,
    validation_dataset,
)

__all__ = [
    "BundleExporter",
    "Settings",
    "claim_folder",
    "evaluation_cases",
    "list_volumes",
    "make_objective",
    "new_folder",
    "one_sentence",
    "protected",
    "refuse_unknown_keys",
    "summary_table",
    "training_cases",
    "validation_dataset",
]

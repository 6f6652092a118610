# SPDX-License-Identifier: Apache-2.0
"""Data sets: reading, verification, fingerprint, splits, preprocessing, caching and the phantom."""

from __future__ import annotations

from monai_ronas.data.caching import build_dataset
from monai_ronas.data.checks import CheckImaged, CheckLabeld, LoadVolumed
from monai_ronas.data.class_indices import ClassIndicesd
from monai_ronas.data.dealt_sampler import DealtSampler
from monai_ronas.data.dicom_seg import DicomSegWriter
from monai_ronas.data.errors import DatasetError, VolumeError
from monai_ronas.data.fingerprint import Fingerprint, fingerprint_dataset
from monai_ronas.data.folds import Split, split_cases
from monai_ronas.data.identity import described, transform_hash
from monai_ronas.data.msd import Case, MSDDataset, read_msd
from monai_ronas.data.phantom import make_phantom_dataset
from monai_ronas.data.preprocessing import build_preprocessing, loading_config, preprocessing_config
from monai_ronas.data.random_elastic import RandElasticd
from monai_ronas.data.simpleitk_reader import SimpleITKReader
from monai_ronas.data.slab_spacing import SlabSpacingd
from monai_ronas.data.stats import CaseStats, case_stats
from monai_ronas.data.study import Study, open_study
from monai_ronas.data.symmetries import thick_axis
from monai_ronas.data.verify import raise_for_faults, verify_dataset, write_report

__all__ = [
    "Case",
    "CaseStats",
    "CheckImaged",
    "CheckLabeld",
    "ClassIndicesd",
    "DatasetError",
    "DealtSampler",
    "DicomSegWriter",
    "Fingerprint",
    "LoadVolumed",
    "MSDDataset",
    "RandElasticd",
    "SimpleITKReader",
    "SlabSpacingd",
    "Split",
    "Study",
    "VolumeError",
    "build_dataset",
    "build_preprocessing",
    "case_stats",
    "described",
    "fingerprint_dataset",
    "loading_config",
    "make_phantom_dataset",
    "open_study",
    "preprocessing_config",
    "raise_for_faults",
    "read_msd",
    "split_cases",
    "thick_axis",
    "transform_hash",
    "verify_dataset",
    "write_report",
]

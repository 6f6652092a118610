# SPDX-License-Identifier: Apache-2.0
"""A raw folder as nnU-Net v2 wants it, from an MSD data set, and the commands that plan and verify it on both sides.

    python -m tests.benchmarks.nnunet_folder --dataset_dir DATA --output_dir NNUNET [--cases 20]

nnU-Net belongs into an environment of its own (``pip install nnunetv2``).
"""

import argparse
import json
import shutil
from pathlib import Path

from monai_ronas.data import read_msd

NUMBER = 4


def write_raw(dataset_dir: str | Path, output_dir: Path, cases: int | None = None) -> Path:
    """Copy cases of one channel into ``Dataset004_NAME``; returns that folder, which must not exist."""
    dataset = read_msd(dataset_dir)
    folder = output_dir / f"Dataset{NUMBER:03d}_{dataset.name}"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    chosen = dataset.cases[:cases]
    for case in chosen:
        shutil.copy(str(case.image), folder / "imagesTr" / f"{case.name}_0000.nii.gz")
        shutil.copy(str(case.label), folder / "labelsTr" / f"{case.name}.nii.gz")
    description = {
        "channel_names": {str(channel): name for channel, name in dataset.modality.items()},
        "labels": {name: value for value, name in dataset.labels.items()},
        "numTraining": len(chosen),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    return folder


def main() -> None:
    """Write the folder and print the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--cases", type=int, help="the first so many. Default: all")
    given = parser.parse_args()
    folder = write_raw(given.dataset_dir, given.output_dir / "raw", given.cases)
    places = " ".join(f"nnUNet_{name}={given.output_dir / name}" for name in ("raw", "preprocessed", "results"))
    print(f"{places} nnUNetv2_plan_and_preprocess -d {NUMBER} --verify_dataset_integrity -c 3d_fullres -np 1 -npfp 1")
    print(
        "python -m monai.bundle run verify --config_file bundles/ronas/configs/search.json "
        f"--dataset_dir {folder} --output_dir {given.output_dir / 'verified'}"
    )


if __name__ == "__main__":
    main()

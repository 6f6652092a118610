# SPDX-License-Identifier: Apache-2.0
"""Synthetic CT of 512 x 512 x 100 to 130 voxels: a body, an organ (half-axes of about 85 x 65 x 38), a tumour in it.

    python -m tests.benchmarks.synthetic_ct --output_dir CT [--cases 10] [--new 4] [--seed 0]

Writes two data sets in MSD layout, ``CT/search`` to search on and ``CT/new`` with others of the same kind. Then

    python -m monai.bundle run search --config_file bundles/ronas/configs/search.json --dataset_dir CT/search \\
        --output_dir CT/output --fold null --memory_budget_gb 8 --time_budget_minutes 10
    python -m monai.bundle run --config_file CT/output/ronas_segmentation/configs/evaluate.json \\
        --bundle_root CT/output/ronas_segmentation --dataset_dir CT/new

``fold`` null as the cases of ``CT/new`` are the test.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

SPACING = (0.8, 0.8, 2.5)


def make_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Intensities in Hounsfield units, int16, and labels 0 to 2, uint8."""
    shape = (512, 512, int(rng.integers(100, 131)))
    axes = [
        np.arange(n, dtype=np.float32).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(shape)
    ]

    def ellipsoid(centre, radii):
        return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True))

    middle = np.array(shape) / 2
    image = np.full(shape, -1000, dtype=np.float32)
    image[np.broadcast_to(ellipsoid(middle, (215, 160, 1e4)) < 1, shape)] = rng.uniform(20, 40)
    for _ in range(6):  # other organs, as bright
        place = middle + rng.uniform(-1, 1, 3) * (120, 80, 45)
        image[ellipsoid(place, rng.uniform(15, 35, 3)) < 1] = rng.uniform(60, 130)
    for side in (-1, 1):  # lungs
        image[ellipsoid(np.add(middle, (side * 100, -20, 60)), (60, 75, 40)) < 1] = -800
    centre = np.add(middle, (60, -10, 0)) + rng.uniform(-1, 1, 3) * (20, 15, 8)
    radii = np.array([85, 65, 38]) * rng.uniform(0.85, 1.1, 3)
    organ = ellipsoid(centre, radii) < 1
    offset = rng.normal(size=3)
    tumour = organ & (
        ellipsoid(
            centre + offset / np.linalg.norm(offset) * radii * rng.uniform(0.2, 0.6),
            rng.uniform(12, 24, 3) * (1, 1, 0.5),
        )
        < 1
    )
    image[organ], image[tumour] = rng.uniform(95, 115), rng.uniform(55, 75)
    image = gaussian_filter(image, (1, 1, 0.5)) + rng.normal(0, 15, shape).astype(np.float32)
    return np.clip(np.rint(image), -1024, 3000).astype(np.int16), organ.astype(np.uint8) + tumour


def write(folder: Path, cases: int, seed: int) -> None:
    """A data set in MSD layout."""
    names = [f"ct_{seed}_{number:03d}.nii.gz" for number in range(cases)]
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(names):
        for part, voxels in zip(
            ("imagesTr", "labelsTr"), make_case(np.random.default_rng([seed, number])), strict=True
        ):
            nib.save(nib.Nifti1Image(voxels, np.diag([*SPACING, 1.0])), folder / part / name)
    content = {
        "name": "Synthetic CT",
        "licence": "Apache-2.0 (synthetic)",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "organ", "2": "tumour"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    }
    (folder / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--new", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.output_dir / "search", given.cases, given.seed)
    write(given.output_dir / "new", given.new, given.seed + 1)


if __name__ == "__main__":
    main()

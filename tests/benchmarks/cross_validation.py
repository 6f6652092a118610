# SPDX-License-Identifier: Apache-2.0
"""What a search reaches on every case of a data set: one search for each fold, tested on that fold.

    python -m tests.benchmarks.cross_validation --dataset_dir DATA --output_dir OUT [--minutes 60] [--at_once 2]

Further arguments, but for those that change the split, are passed to the searches; those that have a result of the same
command in the output folder are not run again. With ``--at_once``, so many run at a time, with one thread each. Prints
and writes as ``cross_validation.json`` the mean foreground Dice of each fold, by class, with predictions averaged over
flips and in one shot, the mean of the folds, and that of all cases with its standard error. The derived bundles lie in
``OUT/fold_K/search/ronas_segmentation``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.runs import command, read_result, run


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of the folds together."""
    cases = np.array([dice for row in rows for dice in row["per_case"].values() if np.isfinite(dice)])
    return {
        "of_folds": [row["mean_dice"] for row in rows],
        "mean_of_folds": float(np.mean([row["mean_dice"] for row in rows])),
        "class_dice": np.mean([row["class_dice"] for row in rows], axis=0).tolist(),
        "cases": len(cases),
        "mean_of_cases": float(cases.mean()),
        "standard_error": float(cases.std(ddof=1) / len(cases) ** 0.5),
        "worst_case": float(cases.min()),
    }


def main() -> None:
    """Run what is missing, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--at_once", type=int, default=1, help="how many searches run at a time")
    given, rest = parser.parse_known_args()
    folders = {fold: given.output_dir / f"fold_{fold}" for fold in given.folds}
    common = {"dataset_dir": given.dataset_dir, "minutes": given.minutes}
    commands = [command("search", folder, extra=["--fold", str(n), *rest], **common) for n, folder in folders.items()]
    run(commands, at_once=given.at_once if given.at_once > 1 else None)
    rows = [read_result(folder) for folder in folders.values()]
    report = {"flips": summary(rows)}
    if all(row["one_shot"] for row in rows):
        report["one_shot"] = summary([row["one_shot"] for row in rows])
    for how, figures in report.items():
        print(how)
        for key, value in figures.items():
            print(f"  {key:>14} {np.round(value, 4).tolist()}")
    for fold, row in zip(folders, rows, strict=True):
        choice = "kept the base network" if row["base_kept"] else "left the base network"
        cost = f"{row['steps']} steps, {row['minutes']:.1f} minutes, {row['cpu_minutes']:.1f} CPU minutes"
        print(f"fold {fold}: {choice}, {cost}")
    (given.output_dir / "cross_validation.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How far a bundle's uncertainty can be trusted, on the test cases of its search.

    python -m tests.benchmarks.uncertainty --bundle B --dataset_dir DATA --output_dir OUT [--cases 20]

The single network and the ensemble, where the bundle has one, segment the same cases, both averaged over the bundle's
flips. Prints and writes as ``uncertainty.json`` and ``uncertainty.md``: Dice and seconds of a case; expected
calibration error and Brier score near the foreground, without and with the bundle's temperature; the temperature that
would have been best on these cases; how often the volume intervals hold the true volume, and how wide they are; how the
predicted Dice and the mean entropy go with the true Dice (Spearman); and the Dice of what is kept when the least sure
cases are set aside. ``reliability.png`` has the diagram of the last of the two.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Invertd
from monai.utils import convert_to_tensor
from scipy.stats import spearmanr

from monai_ronas.bundle.class_inversion import on_image_grid
from monai_ronas.bundle.members import read_members
from monai_ronas.bundle.uncertainty import class_figures
from monai_ronas.metrics import fit_temperature, reliability, sampled
from monai_ronas.networks import MemberInferer, entropy
from monai_ronas.utils import Reliability
from monai_ronas.visualize import plot_reliability

SHARES = (0.0, 0.1, 0.2, 0.3)
_VOXELS = 2**16  # of a case, for calibration
Case = dict[str, Any]


def risk_coverage(dice: Sequence[float], score: Sequence[float], shares: Sequence[float] = SHARES) -> list[float]:
    """Mean Dice of the cases that are kept when a share of them, those with the lowest scores, is set aside.

    Example:
        >>> risk_coverage([0.5, 1.0, 0.75, 0.75], [0.1, 0.9, 0.8, 0.7], (0.0, 0.25))
        [0.75, 0.8333333333333334]
    """
    order = np.argsort(score)
    return [float(np.mean(np.asarray(dice)[order[round(share * len(order)) :]])) for share in shares]


class Bundle:
    """A finished bundle, with the cases that its search never saw."""

    def __init__(self, root: Path, dataset_dir: str) -> None:
        configs = root / "configs"
        self.root, self.temperature = (
            root,
            float(ConfigParser.load_config_file(configs / "inference.json").get("temperature", 1.0)),
        )
        parser = ConfigParser(ConfigParser.load_config_file(configs / "evaluate.json"))
        parser["bundle_root"], parser["dataset_dir"] = str(root), dataset_dir
        self.network, self.inferer, self.cases, self.transform = (
            parser.get_parsed_content(name) for name in ("network", "inferer", "datalist", "preprocessing")
        )
        self.device = parser.get_parsed_content("device")
        weights = torch.load(root / "models" / "model.pt", map_location=self.device, weights_only=True)
        self.network.load_state_dict(weights)
        self.network.eval()
        self._inverse = Invertd("pred", transform=self.transform, orig_keys="image", nearest_interp=False)

    @torch.no_grad()
    def segment(self, ensemble: MemberInferer, item: Case) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Logarithms of the probabilities on the image's grid, the label there, and the seconds of the network."""
        image = item["image"]
        begin = time.perf_counter()
        said = ensemble(image[None].as_tensor().to(self.device), self.network)[0].cpu()
        seconds = time.perf_counter() - begin
        channels = [on_image_grid(channel[None], image, self._inverse) for channel in said.softmax(dim=0)]
        found = torch.cat([convert_to_tensor(channel, track_meta=False) for channel in channels])
        found[0] += 1 - found.sum(dim=0)  # background where the preprocessing has cropped
        return found.clamp_(min=1e-12).log_(), convert_to_tensor(item["label"], track_meta=False), seconds


def measure_case(said: torch.Tensor, label: torch.Tensor, temperature: float) -> Case:
    """The figures of a case, and a sample of its voxels for :func:`~monai_ronas.metrics.reliability`."""
    classes = said.argmax(dim=0, keepdim=True)
    tempered = (said / temperature).log_softmax(dim=0)
    dice, expected, held, widths = [], [], [], []
    for index in range(1, len(said)):
        found, true = classes == index, label == index
        figures = class_figures(tempered[index : index + 1].exp(), found)
        if bool(true.any()):
            dice.append(2 * int((found & true).sum()) / (figures.voxels + int(true.sum())))
            held.append(figures.fewest <= int(true.sum()) <= figures.most)
            widths.append((figures.most - figures.fewest) / int(true.sum()))
        if figures.voxels:
            expected.append(figures.dice)
    unsure = entropy(tempered[None])[0][classes > 0]
    return {
        "dice": float(np.mean(dice)) if dice else math.nan,
        "predicted_dice": float(np.mean(expected)) if expected else 0.0,
        "mean_entropy": float(unsure.mean()) if len(unsure) else math.inf,
        "held": held,
        "widths": widths,
        "sample": sampled(said, label, most=_VOXELS),
    }


def summary(cases: Sequence[Case], temperature: float) -> dict[str, Any]:
    """Figures of all cases that have a Dice."""
    kept = [case for case in cases if math.isfinite(case["dice"])]
    dice = [case["dice"] for case in kept]
    scores = {
        "predicted Dice": [case["predicted_dice"] for case in kept],
        "mean entropy": [-case["mean_entropy"] for case in kept],
    }
    samples = list(zip(*(case["sample"] for case in kept), strict=True))
    found = {t: reliability(*samples, temperature=t) for t in (1.0, temperature)}
    return {
        "cases": len(kept),
        "dice": float(np.mean(dice)),
        "seconds": float(np.mean([case["seconds"] for case in kept])),
        "expected_calibration_error": [found[t].expected_error for t in (1.0, temperature)],
        "brier": [found[t].brier for t in (1.0, temperature)],
        "temperature": temperature,
        "best_temperature": fit_temperature(*samples),
        "interval_holds": float(np.mean([held for case in kept for held in case["held"]])),
        "interval_width": float(np.mean([width for case in kept for width in case["widths"]])),
        "predicted_minus_true": float(np.mean(np.subtract(scores["predicted Dice"], dice))),
        "spearman": {name: float(spearmanr(score, dice).statistic) for name, score in scores.items()},
        "risk_coverage": {name: risk_coverage(dice, score) for name, score in scores.items()},
        "reliability": [vars(found[t]) for t in (1.0, temperature)],
    }


def table(report: dict[str, dict[str, Any]]) -> str:
    """The report as a table in Markdown."""

    def pair(values: Sequence[float]) -> str:
        return ", ".join(f"{value:.4f}" for value in values)

    rows = {
        "Dice": lambda r: f"{r['dice']:.4f}",
        "seconds of a case": lambda r: f"{r['seconds']:.2f}",
        "expected calibration error, without and with the temperature": lambda r: pair(r["expected_calibration_error"]),
        "Brier score, without and with": lambda r: pair(r["brier"]),
        "temperature of the bundle, best one here": lambda r: f"{r['temperature']:.3f}, {r['best_temperature']:.3f}",
        "part of the volume intervals that hold the true volume": lambda r: f"{r['interval_holds']:.2f}",
        "their mean width by the true volume": lambda r: f"{r['interval_width']:.2f}",
        "predicted minus true Dice": lambda r: f"{r['predicted_minus_true']:+.4f}",
    }
    for name in ("predicted Dice", "mean entropy"):
        rows[f"{name} against Dice, Spearman"] = lambda r, name=name: f"{r['spearman'][name]:.2f}"
        kept = ", ".join(f"{100 * share:.0f}" for share in SHARES)
        rows[f"Dice without the {kept} % worst by {name}"] = lambda r, name=name: pair(r["risk_coverage"][name])
    number = next(iter(report.values()))["cases"]
    lines = [f"| {number} cases | {' | '.join(report)} |", "|---" * (1 + len(report)) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(map(of, report.values()))} |" for name, of in rows.items())])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--cases", type=int, help="so many of the test cases at most")
    parser.add_argument("--temperature", type=float, help="in the place of the bundle's")
    given = parser.parse_args()
    bundle = Bundle(given.bundle, given.dataset_dir)
    temperature = bundle.temperature if given.temperature is None else given.temperature
    members = read_members(given.bundle / "models")
    ways = {"single network": [], **({"ensemble": members} if members else {})}
    found: dict[str, list[Case]] = {way: [] for way in ways}
    for paths in bundle.cases[: given.cases]:
        item = bundle.transform(dict(paths))
        for way, members in ways.items():
            said, label, seconds = bundle.segment(MemberInferer(bundle.inferer, members), item)
            found[way].append({**measure_case(said, label, temperature), "seconds": seconds})
    report = {way: summary(cases, temperature) for way, cases in found.items()}
    given.output_dir.mkdir(parents=True, exist_ok=True)
    text = table(report)
    print(text)
    (given.output_dir / "uncertainty.md").write_text(text + "\n", encoding="utf-8")
    (given.output_dir / "uncertainty.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    found_by = [Reliability(**bins) for bins in report[next(reversed(report))]["reliability"]]
    plot_reliability(*found_by).savefig(given.output_dir / "reliability.png", dpi=110)


if __name__ == "__main__":
    main()

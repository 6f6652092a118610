# SPDX-License-Identifier: Apache-2.0
r"""Whether it saves labels in MONAI Label to label first what the bundle is least sure of.

    python -m tests.benchmarks.active_learning --dataset_dir DATA --output_dir OUT --seeds 0 1 2 --final_epochs 8

For each seed the cases are dealt anew: ``--test`` cases that nothing sees, of groups of their own, ``--start`` cases
that are labelled at the start, and ``--pool`` cases that may be labelled. A search on the start cases without episodes
leaves a bundle; further arguments are settings of ``search.json`` for it, such as ``--channels "[8,16,32]"``. Every arm
goes on from that bundle. In each of ``--rounds`` rounds ``--labels`` cases of the pool get their labels, and the bundle
is trained on for ``--steps`` steps on all labelled cases, by its ``train.json`` from its present weights with the
settings that MONAI Label's server gives it. ``--val_split`` is the server's: the part of the labelled cases, the last
by name, that judges the weights; with 0 the training cases do. ``--rate`` stands in the place of the file's learning
rate. Then the bundle's ``evaluate.json`` measures the test cases.

The arm ``random`` takes the cases in a random order, the others (``--scores``) those with the highest score, made anew
before each round from the bundle's own inference, its flips included. ``foreground_entropy`` is the function by which
the server's strategy ranks (``monai_ronas/bundle/active_learning.py``), the others are in ``study_scores.py``.

Prints and writes as ``active_learning.json`` and ``active_learning.md``: the mean Dice of the test cases by number of
labels; what each score is ahead of ``random``, paired by seed, with the standard error over the seeds, after each round
and over all rounds; the labels with which the mean curve of an arm has the Dice of ``random`` after its last round; and
what each score goes with on the pool at the start (Spearman's correlation, mean over the seeds): the bundle's Dice, the
voxels of the foreground and of the volume. Each seed, arm and round has a folder: the same command runs what is
missing.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import monai
import numpy as np
from monai.bundle import ConfigParser
from monai.data.utils import partition_dataset

from monai_ronas.data import Case, read_msd
from monai_ronas.data.groups import group_cases
from monai_ronas.utils import write_atomically
from tests.benchmarks.contender import SEARCH
from tests.benchmarks.label_curves import Row, correlations, summarize, table
from tests.benchmarks.runs import mean_and_error
from tests.benchmarks.study_scores import SCORES, Watch

_VALIDATIONS = 4  # of a training, beside that of the weights before it


def evaluate(bundle: Path, cases: Sequence[Case]) -> dict[str, Row]:
    """Dice of each case by the bundle's ``evaluate.json``, its scores, and the voxels of foreground and volume."""
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "evaluate.json"))
    parser.update({"bundle_root": str(bundle), "datalist": [case.item() for case in cases]})
    evaluator, labels = parser.get_parsed_content("evaluator"), []
    evaluator.inferer = watch = Watch(parser.get_parsed_content("inferer"))
    loaded = parser.get_parsed_content("preprocessing")

    def preprocess(item: Any) -> Any:
        found = loaded(item)
        labels.append({"foreground": int((found["label"] > 0).sum()), "voxels": found["label"].numel()})
        return found

    parser.get_parsed_content("dataset").transform = preprocess
    evaluator.run()
    dice = evaluator.state.metric_details["mean_dice"].nanmean(dim=1).tolist()
    rows = zip(cases, dice, labels, watch.rows, strict=True)
    return {case.name: {"dice": value, **label, **scores} for case, value, label, scores in rows}


def train(bundle: Path, cases: Sequence[Case], *, steps: int, val_split: float, rate: float | None = None) -> None:
    """Train the bundle on, as MONAI Label's server does."""
    items = [case.item() for case in cases]
    trained, judges = partition_dataset(items, ratios=[1 - val_split, val_split]) if val_split > 0 else (items, [])
    config = ConfigParser.load_config_file(bundle / "configs" / "train.json")
    epochs = max(1, round(steps / math.ceil(len(trained) / config["batch_size"])))
    monai.bundle.run(
        run_id="run",
        config_file=str(bundle / "configs" / "train.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=str(bundle / "configs" / "logging.conf"),
        bundle_root=str(bundle),
        **{
            "train#trainer#max_epochs": epochs,
            "train#dataset#data": trained,
            "validate#dataset#data": judges,
            "val_interval": max(1, epochs // _VALIDATIONS),
            "learning_rate": config["learning_rate"] if rate is None else rate,
        },
    )


class Deal(NamedTuple):
    """The use of cases, by name."""

    test: list[str]
    start: list[str]
    pool: list[str]


def deal(groups: Mapping[str, str], seed: int, *, test: int, start: int, pool: int, labels: int) -> Deal:
    """Deal the cases.

    Args:
        groups: the group of each case.
        seed: of the deal.
        test: so many cases at least, groups as a whole, which have no other cases elsewhere.
        start: so many.
        pool: so many, or all that are left.
        labels: of the pool, so many are to be labelled in all.

    Raises:
        ValueError: when there are too few cases.
    """
    draw = np.random.default_rng(seed)
    tested: list[str] = []
    for group in draw.permutation(sorted(set(groups.values()))):
        if len(tested) < test:
            tested += sorted(case for case in groups if groups[case] == group)
    others = draw.permutation(sorted(set(groups) - set(tested))).tolist()
    found = Deal(tested, others[:start], others[start : start + pool])
    if len(tested) < test or len(found.pool) < labels:
        raise ValueError(
            f"{len(groups)} cases and a pool of {pool} are too few to test {test} and label {start} and {labels}."
        )
    return found


def choose(rows: Mapping[str, Row], score: str, number: int) -> list[str]:
    """The cases with the highest score, the highest first.

    Example:
        >>> choose({"a": {"s": 0.5}, "b": {"s": 0.75}, "c": {"s": 0.25}}, "s", 2)
        ['b', 'a']
    """
    return sorted(rows, key=lambda name: (-rows[name][score], name))[:number]


class Experiment:
    """The runs of a seed.

    Args:
        given: the command's arguments.
        seed: of the deal and of the search.
    """

    def __init__(self, given: argparse.Namespace, seed: int) -> None:
        self.given, self.seed, self.folder = given, seed, given.output_dir / f"seed_{seed}"
        self.cases = {case.name: case for case in read_msd(given.dataset_dir).cases}
        unfit = [name for name, case in self.cases.items() if len(case.images) > 1 or case.images[0].is_dir()]
        if unfit:
            raise ValueError(f"the image of every case must be a single file, unlike that of '{unfit[0]}'.")
        sizes = {key: getattr(given, key) for key in ("test", "start", "pool")}
        groups = group_cases(list(self.cases), given.group)
        self.deal = deal(groups, seed, **sizes, labels=given.rounds * given.labels)

    def run(self, arm: str) -> list[float]:
        """Run what is missing of an arm; returns the mean Dice at the start and after each round."""
        before, labelled = self._start(), list(self.deal.start)
        dice = [self._dice(before)]
        for number in range(1, self.given.rounds + 1):
            folder = self.folder / arm / f"round_{number}"
            if not (folder / "chosen.json").is_file():
                left = [name for name in self.deal.pool if name not in labelled]
                rows = {} if arm == "random" else self.rows(before, "pool", left)
                chosen = choose(rows, arm, self.given.labels) if rows else left[: self.given.labels]
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(before / "bundle", folder / "bundle")
                cases = [self.cases[name] for name in sorted([*labelled, *chosen])]
                settings = {key: getattr(self.given, key) for key in ("steps", "val_split", "rate")}
                train(folder / "bundle", cases, **settings)
                _write(folder / "chosen.json", chosen)
            labelled += json.loads((folder / "chosen.json").read_text(encoding="utf-8"))
            dice.append(self._dice(folder))
            before = folder
            print(f"seed {self.seed}, {arm}, {len(labelled)} labels: Dice {dice[-1]:.4f}", flush=True)
        return dice

    def rows(self, folder: Path, use: str, names: Sequence[str]) -> dict[str, Row]:
        """The cases of a use, evaluated once."""
        path = folder / f"{use}.json"
        if not path.is_file():
            _write(path, evaluate(folder / "bundle", [self.cases[name] for name in names]))
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def _dice(self, folder: Path) -> float:
        return mean_and_error([row["dice"] for row in self.rows(folder, "test", self.deal.test).values()])[0]

    def _start(self) -> Path:
        """The folder of the bundle at the start."""
        folder = self.folder / "start"
        if not (folder / "bundle").is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            content = json.loads((Path(self.given.dataset_dir) / "dataset.json").read_text(encoding="utf-8"))
            content["training"] = []
            for case in map(self.cases.__getitem__, sorted(self.deal.start)):
                paths = {"image": case.images[0], "label": case.label}
                for part, path in paths.items():
                    (folder / "data" / f"{part}sTr").mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, folder / "data" / f"{part}sTr")
                content["training"].append({part: f"{part}sTr/{path.name}" for part, path in paths.items()})
            _write(folder / "data" / "dataset.json", content)
            arguments = {
                "config_file": SEARCH,
                "dataset_dir": folder / "data",
                "output_dir": folder / "search",
                "fold": "null",
                "seed": self.seed,
                "episodes": 0,
                "warmup_epochs": 0,
            }
            words = [str(a) for name, value in arguments.items() for a in (f"--{name}", value)]
            command = [sys.executable, "-m", "monai.bundle", "run", "search", *words, *self.given.rest]
            code = subprocess.run(command).returncode
            if code:
                raise SystemExit(code)
            (folder / "search" / "ronas_segmentation").rename(folder / "bundle")
        return folder


def _write(path: Path, content: Any) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def main() -> None:
    """Run what is missing, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scores", nargs="+", default=["foreground_entropy"], choices=list(SCORES))
    parser.add_argument("--group", help="a regular expression whose first group names the patient")
    parser.add_argument("--test", type=int, default=24)
    parser.add_argument("--start", type=int, default=4)
    parser.add_argument("--pool", type=int, default=48)
    parser.add_argument("--labels", type=int, default=4, help="cases that are labelled in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of the training in a round")
    parser.add_argument("--val_split", type=float, default=0.2)
    parser.add_argument("--rate", type=float, help="learning rate of that training. Default: that of train.json")
    given, given.rest = parser.parse_known_args()
    same = {
        key: getattr(given, key)
        for key in ("dataset_dir", "group", "test", "start", "pool", "labels", "steps", "val_split", "rate", "rest")
    }
    settings = given.output_dir / "settings.json"
    if settings.is_file() and json.loads(settings.read_text(encoding="utf-8")) != same:
        parser.error(f"{settings} is of another command: give another --output_dir.")
    try:
        experiments = [Experiment(given, seed) for seed in given.seeds]
    except ValueError as error:
        parser.error(str(error))
    given.output_dir.mkdir(parents=True, exist_ok=True)
    _write(settings, same)
    curves: dict[str, list[list[float]]] = {arm: [] for arm in ("random", *given.scores)}
    pools = []
    for experiment in experiments:
        for arm, values in curves.items():
            values.append(experiment.run(arm))
        pools.append(experiment.rows(experiment.folder / "start", "pool", experiment.deal.pool))
    labels = [given.start + number * given.labels for number in range(given.rounds + 1)]
    report = {
        "labels": labels,
        "arms": summarize(curves, labels),
        "correlations": correlations(pools),
        "curves": curves,
    }
    text = table(report)
    print(text)
    (given.output_dir / "active_learning.md").write_text(text + "\n", encoding="utf-8")
    _write(given.output_dir / "active_learning.json", report)


if __name__ == "__main__":
    main()

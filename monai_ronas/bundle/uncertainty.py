# SPDX-License-Identifier: Apache-2.0
"""How sure a derived bundle is of its segmentations, on request."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from monai.inferers import Inferer
from monai.transforms import Invertd
from monai.utils import convert_to_tensor, str2bool

from monai_ronas.bundle.class_inversion import on_image_grid
from monai_ronas.bundle.members import MEMBERS, read_members
from monai_ronas.bundle.predictions import MAPS, PredictionFiles
from monai_ronas.data import DatasetError
from monai_ronas.data.writing import write_volume
from monai_ronas.errors import SettingError
from monai_ronas.networks import MemberInferer, PadToStrideInferer, entropy
from monai_ronas.utils import SearchResult, write_atomically

logger = logging.getLogger(__name__)
REPORT = "uncertainty.csv"
INTERVAL = 0.9  # of volumes
_SLABS = 16


class Uncertainty:
    """Beside each segmentation a map of the uncertainty of every voxel, and a line in ``uncertainty.csv``.

    Unless it is wanted, inferer and postprocessing are those that are given, and nothing is read. A warning says where
    an earlier run has left its ``uncertainty.csv``.

    Volumes come one by one: ``dataloader#batch_size`` must be 1.

    The segmentation is then that of the bundle's ensemble, the network and the weights that it had on its way through
    the final training, which share the flips among them. The maps have the geometry of the volume, in nats:
    ``_entropy``, that of the mean probabilities, and ``_mutual_information``, what of it is due to disagreement of
    members and flips, without the temperature.

    ``uncertainty.csv`` has a line for each case. The volume of each class (ml) is that of the segmentation. Its
    interval is from the voxels whose probability is above 0.95 to those above 0.05: it would hold the true volume in
    90 of 100 cases if the probabilities were right and all voxels erred together. ``mean_entropy`` is over the
    segmentation's foreground. ``predicted_dice`` is the mean over the classes that were found of
    ``2 sum(p in S) / (|S| + sum(p))`` for a segmentation S with probabilities p, and 0 where none was found. Lines of
    an earlier run stay, but for cases that are segmented anew.

    Args:
        wanted: true or false, as the command line may give it.
        inferer: of the single network.
        models: the folder of the weights, with ``model.pt`` and maybe ``members.pth``.
        files: where predictions are written.
        labels: names of all classes, background at first, by the value of their label.
        transform: the preprocessing, which is inverted.
        temperature: divides the logarithms of the mean probabilities.

    Raises:
        SettingError: when ``wanted`` or ``temperature`` is out of place, the members cannot be read, or there is an
            ``uncertainty.csv`` with other columns.
    """

    def __init__(
        self,
        wanted: bool | str,
        *,
        inferer: PadToStrideInferer,
        models: str | os.PathLike[str],
        files: PredictionFiles,
        labels: Mapping[str, str],
        transform: Any,
        temperature: float = 1.0,
    ) -> None:
        try:
            chosen = str2bool(wanted)
        except ValueError as error:
            raise SettingError(f"uncertainty must be true or false, received {wanted!r}.") from error
        number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not number or not 0 < temperature < math.inf:
            raise SettingError(f"temperature must be a positive number, received {temperature!r}.")
        self.files = files
        self.labels = {int(value): name for value, name in labels.items()}
        self.temperature = float(temperature)
        self.left_out: list[str] = []
        self._report = Path(os.path.abspath(files.output_dir)) / REPORT
        self._columns = ["case", *_volume_columns(list(self.labels.values())[1:]), "mean_entropy", "predicted_dice"]
        self._rows: dict[str, list[str] | None] = {}  # of this run; None for a line that goes
        self._volumes: dict[str, str] = {}  # of this run, by the names of their cases
        if chosen:
            _read_rows(self._report, self._columns)  # a table of another bundle is refused before the first case
        elif self._report.is_file():
            logger.warning(
                "'%s' and the maps beside it are of an earlier run: they do not tell of what is segmented now",
                self._report,
            )
        self._ensemble = MemberInferer(inferer, read_members(Path(models))) if chosen else None
        self.inferer: Inferer = inferer if self._ensemble is None else self._ensemble
        self._inverse = Invertd("pred", transform=transform, orig_keys="image", nearest_interp=False)

    def postprocessing(self, transform: Callable[..., Any]) -> Callable[..., Any]:
        """The bundle's postprocessing, with maps and report after it where they are wanted."""
        if self._ensemble is None:
            return transform

        def run(item: Mapping[str, Any]) -> Any:
            spread = None if self._ensemble is None else self._ensemble.mutual_information
            if spread is not None and len(spread) > 1:
                raise SettingError(f"dataloader#batch_size must be 1 for the uncertainty, received {len(spread)}.")
            said = None if spread is None else convert_to_tensor(item["pred"], track_meta=False).clone()
            done = transform(item)  # which overwrites it
            self._tell(done, said)
            return done

        return run

    def end(self, others: Sequence[str] = ()) -> None:
        """Tell which cases have a segmentation only.

        Args:
            others: faults of volumes that have no segmentation, which are told as well.

        Raises:
            DatasetError: when there are any.
        """
        if self.left_out:
            more = f"; {len(others)} other volume(s) could not be segmented: {'; '.join(others)}" if others else ""
            raise DatasetError(
                f"the memory does not suffice for the uncertainty of {len(self.left_out)} case(s), which have a "
                f"segmentation only: {', '.join(self.left_out)}{more}."
            )

    def _tell(self, item: Mapping[str, Any], said: torch.Tensor | None) -> None:
        found = item["pred"]
        volume = str(found.meta["filename_or_obj"])
        name = self._case(volume)
        assert self._ensemble is not None
        spread = self._ensemble.mutual_information
        if spread is None or said is None:
            logger.error("'%s': the memory does not suffice for its uncertainty", name)
            self.left_out.append(f"'{name}'")
            self._remove_maps(volume, MAPS)
            self._rows[name] = None
            if self._report.is_file():
                self._write_report()
            return

        def inverted(channel: torch.Tensor) -> torch.Tensor:
            return convert_to_tensor(on_image_grid(channel, item["image"], self._inverse), track_meta=False).cpu()

        said.div_(self.temperature)
        unsure = inverted(entropy(said[None])[0])
        maps = {"entropy": unsure}
        if self._ensemble.runs > 1:
            maps["mutual_information"] = inverted(spread[0])
        self._remove_maps(volume, [kind for kind in MAPS if kind not in maps])
        affine = found.affine.cpu().numpy().astype(np.float64)
        for kind, voxels in maps.items():
            write_volume(self.files.map_path(volume, kind), voxels[0].numpy().astype(np.float32), affine)
        segmentation = convert_to_tensor(found, track_meta=False).cpu()
        ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        volumes: list[float] = []
        dice: list[float] = []
        for channel, value in zip(to_probabilities_(said)[1:], list(self.labels)[1:], strict=True):
            found_class = class_figures(inverted(channel[None]), segmentation == value)
            volumes += [ml * number for number in found_class[:3]]
            dice += [found_class.dice] * (found_class.voxels > 0)
        foreground = unsure[segmentation > 0]
        mean = f"{float(foreground.mean()):.4f}" if len(foreground) else ""
        figures = [*(f"{v:.4g}" for v in volumes), mean, f"{np.mean(dice) if dice else 0.0:.4f}"]
        self._rows[name] = figures
        self._write_report()
        logger.info("predicted Dice %s: '%s'", figures[-1], name)

    def _case(self, volume: str) -> str:
        """The path of a volume's segmentation without ``_seg``; and with the ending where only it tells two apart."""
        place = self.files.path(volume).relative_to(self._report.parent).as_posix()
        stem, _, end = place.encode(errors="replace").decode().rpartition("_seg")  # as it can be written
        return stem if self._volumes.setdefault(stem, volume) == volume else stem + end

    def _remove_maps(self, volume: str, kinds: Sequence[str]) -> None:
        """Those that an earlier run has left are of another segmentation."""
        for kind in kinds:
            self.files.map_path(volume, kind).unlink(missing_ok=True)

    def _write_report(self) -> None:
        """Write the table with the lines of this run; another run may write into it at the same time."""
        with FileLock(self._report.with_name(f".{REPORT}.lock")):
            rows = {**_read_rows(self._report, self._columns), **self._rows}
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerow(self._columns)
            table.writerows([name, *figures] for name, figures in rows.items() if figures is not None)
            write_atomically(self._report, lambda file: file.write(text.getvalue().encode(errors="replace")))


def _read_rows(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """The lines that an earlier run has left, by case."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first, *rows = csv.reader(file)
    except (ValueError, csv.Error):
        first, rows = [], []
    if first != list(columns) or any(len(row) != len(columns) for row in rows):
        raise SettingError(
            f"'{path}' has other columns than those of this bundle: remove it, or give another output_dir."
        )
    return {name: figures for name, *figures in rows}


class ClassFigures(NamedTuple):
    """What probabilities tell of a class that was segmented.

    Attributes:
        voxels: of the segmentation.
        fewest: of the interval; those with a probability above 0.95, or all of the segmentation where that is less.
        most: of the interval; those with a probability above 0.05, or all of the segmentation where that is more.
        dice: expected of the segmentation.
    """

    voxels: int
    fewest: int
    most: int
    dice: float


def class_figures(probability: torch.Tensor, segmented: torch.Tensor) -> ClassFigures:
    """The :class:`ClassFigures` of a class.

    Args:
        probability: of the class, any shape.
        segmented: boolean, the same shape.

    Example:
        >>> class_figures(torch.tensor([1.0, 0.75, 0.25, 0.0]), torch.tensor([True, True, False, False]))
        ClassFigures(voxels=2, fewest=1, most=3, dice=0.875)
    """
    low, high = (int((probability > bound).sum()) for bound in ((1 + INTERVAL) / 2, (1 - INTERVAL) / 2))
    number, total = int(segmented.sum()), float(probability.double().sum())
    common = float(probability[segmented].double().sum())
    return ClassFigures(number, min(low, number), max(high, number), 2 * common / max(number + total, 1e-9))


def to_probabilities_(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities in the place of logits ``(C, H, W, D)``, a slab at a time: the memory has no room for a copy."""
    for part in logits.split(max(1, -(-logits.shape[1] // _SLABS)), dim=1):
        part.copy_(part.softmax(dim=0))
    return logits


def _volume_columns(names: Sequence[str]) -> list[str]:
    return [f"{name} {what}" for name in names for what in ("ml", "ml from", "ml to")]


def uncertainty_in_words(result: SearchResult) -> str:
    """What stands behind a bundle's uncertainty: members and temperature."""
    if result.members:
        size = sum(weight.nbytes for member in result.members for weight in member.values()) / 1e6
        number = len(result.members)
        lines = [
            f"`--uncertainty true` segments with an ensemble: the network and {number} state{'s' * (number > 1)} of "
            "its weights on the way through the final\ntraining "
            f"(`models/{MEMBERS}`, {size:.1f} MB, half precision), which share the flips among them."
        ]
    else:
        lines = ["`--uncertainty true` asks the network alone, over its flips: the bundle has no other members."]
    lines.append(
        "Beside each segmentation it writes the entropy of every voxel and the mutual information of the runs (nats), "
        f"and into\n`{REPORT}` a line for each case: volume of each class with an interval (ml), mean entropy of the "
        "foreground, predicted Dice."
    )
    fit = result.temperature
    if fit is None:
        lines.append("No temperature was fitted: the probabilities are those that the network gives.")
    elif fit.seen and fit.temperature == 1.0:
        lines.append(
            f"There is no temperature: on {fit.cases} reward cases, which the final training has seen, one below 1 "
            "would be best,\nand would make the network surer of others than it should be. Their expected calibration "
            f"error near the foreground is {fit.error_before:.4f}."
        )
    else:
        seen = ", which the final training has seen: on others it may still be too sure" if fit.seen else ""
        lines.append(
            f"The temperature is {fit.temperature:.2f}, fitted on {fit.cases} reward cases{seen}.\n"
            f"Their expected calibration error near the foreground is {fit.error_before:.4f} without and "
            f"{fit.error_after:.4f} with it."
        )
    if result.reliability is not None:
        without, with_it = (f"{found.expected_error:.4f}" for found in result.reliability)
        lines.append(f"That of the test cases, which nothing has seen, is {without} and {with_it} (network alone).")
    return "\n".join(lines)

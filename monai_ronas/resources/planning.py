# SPDX-License-Identifier: Apache-2.0
"""The plan of a search, from its data, its budgets and what was measured on its device."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_ronas.errors import SettingError
from monai_ronas.resources.estimator import ResourceEstimator
from monai_ronas.resources.speed import Speed, update_macs
from monai_ronas.space import PATCH_RATIO, WIDTHS, Draft, NothingFitsError, Plan, RonasSpace, make_plan
from monai_ronas.utils import report_folder, write_atomically
from monai_ronas.utils.ranks import from_main, is_main

logger = logging.getLogger(__name__)
_MOST_MOMENTS = 2  # of any usual optimiser
_TRAINING = 0.8  # of the time budget: the rest is for loading, scores and the export


@dataclass(frozen=True)
class PlanInputs:
    """What a plan follows from, apart from the device's speed.

    Args:
        shape: of the median volume, voxels per axis, after preprocessing.
        spacing: voxel size per axis, in mm.
        in_channels: channels of the images.
        out_channels: classes, background included.
        memory_gb: memory in GiB for training and scoring.
        time_budget: seconds that the whole command may take. Default: no limit.
        amp: training in bfloat16.
        channels: of the stages. Default: planned.
        batch_size: crops in a batch.
        device: type of the device, by which plans are told apart: its speed is its own.
        ignore: labels have a value for voxels that nobody has labelled.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    in_channels: int
    out_channels: int
    memory_gb: float
    time_budget: float | None = None
    amp: bool = False
    channels: tuple[int, ...] | None = None
    batch_size: int = 2
    device: str = "cpu"
    ignore: bool = False

    def costs(self, draft: Draft, *, widths: Sequence[float] = (1.0,)) -> ResourceEstimator:
        """Costs of a draft, as the base network of a small space.

        Kernels of 3 along every axis: those of 1 between thick slices save few of a step's seconds and bytes, most of
        which are of feature maps.
        """
        space = RonasSpace(
            draft.patch,
            self.spacing,
            stages=len(draft.channels),
            strides=draft.strides,
            searched_strides=(),
            patch_ratio=PATCH_RATIO,
            widths=widths,
        )
        return ResourceEstimator(
            space,
            channels=draft.channels,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            amp=self.amp,
            moments=_MOST_MOMENTS,
            ignore=self.ignore,
            memory_gb=self.memory_gb,
        )


def plan_for(inputs: PlanInputs, speed: Speed | None = None, *, spent: float = 0.0) -> Plan:
    """Make the plan.

    Args:
        inputs: data and budgets.
        speed: of the device; needed where the inputs have a time.
        spent: seconds of the time budget that are spent already.

    Raises:
        SettingError: when nothing fits into the memory, with the smallest memory in which something would.

    Example:
        >>> inputs = PlanInputs((190, 142, 88), (1, 1, 1), 1, 2, memory_gb=8.0, time_budget=700.0)
        >>> plan = plan_for(inputs, Speed(seconds_per_mac=1e-11))
        >>> plan.strides[0], plan.steps > 1000
        ((2, 2, 2), True)
    """

    def seconds_of(draft: Draft) -> float:
        assert speed is not None
        costs = inputs.costs(draft)
        updates = update_macs(draft.channels, inputs.in_channels, axes=len(draft.patch))
        return speed.seconds(draft.crops * costs.macs(costs.space.base), updates)

    left = None if inputs.time_budget is None else _TRAINING * max(inputs.time_budget - spent, 1.0)
    needs: list[float] = []

    def fits(draft: Draft) -> bool:
        costs = inputs.costs(draft, widths=WIDTHS)
        need = costs.needed_gb(costs.space.base, crops=draft.crops)
        needs.append(need)
        return need <= inputs.memory_gb

    for crops in dict.fromkeys((inputs.batch_size, 1)):
        try:
            return make_plan(
                inputs.shape,
                inputs.spacing,
                fits=fits,
                seconds_of=None if speed is None else seconds_of,
                seconds=left,
                channels=inputs.channels,
                batch_size=crops,
            )
        except NothingFitsError:
            continue
    raise SettingError(
        f"memory_budget_gb {inputs.memory_gb:g} is too little for these data: give {min(needs) + 0.001:.3f} or more, "
        "or fewer channels."
    )


def plan_search(
    inputs: PlanInputs,
    measure: Callable[[], Speed],
    elapsed: Callable[[], float],
    report: str | os.PathLike[str],
    *,
    resume: bool = True,
) -> Plan:
    """The plan of a search; the same again where the same search is resumed, whatever the device's speed is then.

    In many processes rank 0 makes it for all.

    Args:
        inputs: data and budgets.
        measure: measures the device's speed; called where the inputs have a time and there is no plan yet.
        elapsed: tells the seconds of the time budget that are spent.
        report: ``dataset_report.json`` of the search, into which the plan is written; the plan alone lies in
            ``plan.json`` beside it. Where a search has begun there, both stay, see
            :func:`~monai_ronas.utils.report_folder`.
        resume: take an earlier plan for the same inputs.

    Raises:
        SettingError: when nothing fits into the memory.
    """
    return from_main(_searched_plan(inputs, measure, elapsed, Path(report), resume=resume) if is_main() else None)  # type: ignore[return-value]


def _searched_plan(
    inputs: PlanInputs, measure: Callable[[], Speed], elapsed: Callable[[], float], report: Path, *, resume: bool
) -> Plan:
    known = json.loads(json.dumps(asdict(inputs)))
    content = _read(report.with_name("plan.json"), known) if resume else None
    if content is None:
        speed = None if inputs.time_budget is None else measure()
        content = {"inputs": known, "plan": plan_for(inputs, speed, spent=elapsed()).to_dict()}
    folder = report_folder(report.parent)
    _write(folder / "plan.json", content)
    _add_to_report(folder / report.name, content["plan"])
    return Plan.from_dict(content["plan"])


def _read(path: Path, known: dict[str, Any]) -> dict[str, Any] | None:
    """Inputs and plan in a file, where the inputs are the same, or where a search has begun with the plan.

    A search that has begun keeps its network, whatever it is given; what it must not be given its checkpoints tell.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        begun = any(path.parent.glob("checkpoints/*.pt"))
        Plan.from_dict(content["plan"])
        return dict(content) if begun or content["inputs"] == known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _add_to_report(report: Path, plan: dict[str, Any]) -> None:
    content = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    _write(report, {**content, "plan": plan})


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))

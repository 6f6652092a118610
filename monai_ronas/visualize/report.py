# SPDX-License-Identifier: Apache-2.0
"""The report of a search as one HTML file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_ronas.data import Study
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Plan
from monai_ronas.utils import ChildScore, Plane, SearchResult, write_atomically
from monai_ronas.visualize.page import chart, duration, page, table, time_line
from monai_ronas.visualize.plots import (
    draw_network,
    pareto_children,
    plot_cases,
    plot_cost,
    plot_probabilities,
    plot_race,
    plot_reliability,
    plot_reward,
)
from monai_ronas.visualize.segmentations import segmentations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COSTS = ("seconds", "macs", "parameters", "memory_mb")


def write_report(
    output_dir: str | Path,
    *,
    network: RonasSuperNet,
    study: Study,
    plan: Plan,
    trace: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    spent: Mapping[str, float],
    limit: float | None = None,
    doing: str = "",
    result: SearchResult | None = None,
    candidates: Sequence[Mapping[str, Any]] = (),
    planes: Sequence[Sequence[Plane]] = (),
) -> Path:
    """Write ``search_report.html``, which needs no other file.

    At the end of a search its pictures are written as PNG files as well, and ``pareto.json``.

    Args:
        output_dir: the folder.
        network: the supernet.
        study: the data of the search.
        plan: the plan.
        trace: the controller's state after each episode (``ControllerTrainer.state.trace``).
        history: the lines of ``history.jsonl``.
        spent: seconds by part of the search.
        limit: seconds that the search may take. Default: no limit.
        doing: the part of the search that is under way, where it has not ended.
        result: what the search found. Default: it has not ended.
        candidates: the contenders of the race so far, as in :class:`~monai_ronas.utils.SearchResult`.
        planes: three planes of each case of the last score, in its order.

    Returns:
        path of the HTML file.
    """
    folder = Path(output_dir)
    files = folder if result is not None else None
    parts = [_status(spent, limit, doing, result)]
    if result is not None:
        parts += _result(files, network, study, result, planes)
    parts += _race(files, candidates, "s" if limit is not None else "steps")
    parts += _episodes(files, network, trace, history, ended=result is not None)
    reasons = "".join(f"<li>{html.escape(text[:1].upper() + text[1:])}.</li>" for text in plan.reasons)
    words = html.escape(f"{study.summary()}\n{plan.words()}")
    parts.append(f"<h2>The plan</h2><ul>{reasons}</ul><pre>{words}</pre>")
    parts.append(f"<h2>What the time was spent on</h2>{time_line(list(spent.items()))}")
    if result is not None:
        fronts = {key: pareto_children(history, key) for key in _COSTS}
        text = json.dumps(fronts, indent=1) + "\n"
        write_atomically(folder / "pareto.json", lambda file: file.write(text.encode()))
    path = folder / "search_report.html"
    content = page(f"Architecture search: {study.fingerprint.name}", parts).encode(errors="replace")
    write_atomically(path, lambda file: file.write(content))  # with a ? where a file's name is not UTF-8
    return path


def _status(spent: Mapping[str, float], limit: float | None, doing: str, result: SearchResult | None) -> str:
    time = duration(sum(spent.values())) + ("" if limit is None else f" of {duration(limit)}")
    if result is not None:
        return f'<p class="status">The search has finished. It took {time}.</p>'
    return (
        f'<p class="status running">The search has not finished. When this page was written, after {time}, it was in '
        f"this part: {html.escape(doing)}.</p>"
    )


def _result(
    folder: Path | None,
    network: RonasSuperNet,
    study: Study,
    result: SearchResult,
    planes: Sequence[Sequence[Plane]],
) -> list[str]:
    """The derived network, its Dice and its segmentations."""
    fingerprint = study.fingerprint
    classes = [name for value, name in sorted(fingerprint.labels.items())][1:]
    score, names, kind, remark = result.score, result.case_names, "reward cases", result.remark
    if result.test is not None:
        score, names, kind, remark = result.test, result.test_names, "test cases", ""
        if len(names) < result.test_cases:
            kind = f"of the {result.test_cases} test cases, as the time did not allow more"
    parts = ["<h2>Segmentations</h2>"]
    if study.split.test and result.test is None:
        parts.append(
            "<p>The test cases have no score here, for want of time or of foreground in their labels: the bundle's "
            "<code>evaluate.json</code> measures them.</p>"
        )
    if score is None:
        parts.append("<p>The trained network has no score.</p>")
    else:
        parts.append(f"<p>{html.escape(_dice(score, kind, remark))}</p>")
    # a score from before the final training has planes of no case
    if score is not None and len(planes) == len(score.per_case):
        parts.append(
            "<p>Each plane is the one with the most foreground of the label along its axis. On the left is the "
            "patient's right, in sagittal planes the front. Image and label are as preprocessed for the network.</p>"
        )
        parts.append(segmentations(planes, names, score, classes, fingerprint.target_spacing))
    else:
        parts.append("<p>No segmentation is shown: no case was segmented after the final training.</p>")
    if score is not None and score.per_class:
        parts.append("<h2>Dice by case and class</h2>")
        parts.append(_picture(folder, "dice_cases", "Dice of each case by class", plot_cases(score.per_class, classes)))
        rows = [
            [name, _number(mean, ".4f"), *(_number(value, ".4f") for value in values)]
            for name, mean, values in zip(names, score.per_case, score.per_class, strict=True)
        ]
        parts.append(table(["case", "mean", *classes], rows))
    parts += _reliability(folder, result)
    channels = network.network_kwargs(result.architecture)["channels"]
    drawing = draw_network(network.space, result.architecture, channels)
    parts.append(f"<h2>The network</h2>{_picture(folder, 'network', 'Drawing of the network', drawing, wide=True)}")
    return parts


def _dice(score: ChildScore, kind: str, remark: str) -> str:
    number = sum(math.isfinite(dice) for dice in score.per_case)
    error = score.standard_error
    spread = f", standard error {error:.4f}" if math.isfinite(error) else ""
    return f"Mean Dice {score.reward:.4f}{spread}, of {number} {kind}{f' {remark}' if remark else ''}."


def _reliability(folder: Path | None, result: SearchResult) -> list[str]:
    """Whether the network's probabilities hold what they say."""
    if result.reliability is None or result.temperature is None:
        return []
    without, with_it = result.reliability
    words = (
        f"Near the foreground of the test cases, for the network alone: expected calibration error "
        f"{without.expected_error:.4f} and Brier score {without.brier:.4f}"
    )
    if result.temperature.temperature != 1.0:
        words += (
            f", with the temperature {result.temperature.temperature:.2f} that was fitted on reward cases "
            f"{with_it.expected_error:.4f} and {with_it.brier:.4f}"
        )
    words += "."
    picture = _picture(folder, "reliability", "Reliability of the probabilities", plot_reliability(without, with_it))
    return ["<h2>How sure the network is</h2>", f"<p>{words}</p>", picture]


def _race(folder: Path | None, candidates: Sequence[Mapping[str, Any]], unit: str) -> list[str]:
    """The contenders and their learning curves."""
    if not candidates:
        return []
    parts = ["<h2>The race</h2>"]
    if any(c.get("curve") for c in candidates):
        curves = plot_race(candidates, unit)
        parts.append(_picture(folder, "race", "Learning curves of the contenders", curves))
    else:
        parts.append("<p>No contender had a turn: with the time there was, the base network was to have all of it.</p>")
        if all(c["trained"] is None and c["reward"] is None for c in candidates):
            return parts
    rows = [
        [
            c["origin"],
            c["id"],
            _number(c["trained"], ".4g"),
            _number(c["reward"], ".4f"),
            _number(c["forecast"], ".4f"),
        ]
        for c in candidates
    ]
    head = ["origin", "id", f"trained ({unit})", "Dice", "soft Dice, expected"]
    return [*parts, table(head, rows)]


def _episodes(
    folder: Path | None,
    network: RonasSuperNet,
    trace: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    *,
    ended: bool,
) -> list[str]:
    """What the controller has learnt."""
    if not history and not ended:
        return []
    seconds, memory = "seconds for the episode's cases", "memory of inference (MB, estimated)"
    figures = (
        ("reward", "Reward and entropy", plot_reward(trace, history)),
        ("probabilities", "What the policy came to prefer", plot_probabilities(trace, network.space)),
        ("dice_seconds", "Dice against scoring time", plot_cost(history, "seconds", seconds)),
        ("dice_memory", "Dice against memory", plot_cost(history, "memory_mb", memory)),
    )
    none = "" if history else "<p>There were no episodes.</p>"
    parts = [f"<h2>The episodes</h2>{none}"]
    blocks = [
        f"<div><h3>{title}</h3>{_picture(folder, name, title, figure, wide=name == 'probabilities')}</div>"
        for name, title, figure in figures
    ]
    return [*parts, *blocks[:-2], f'<div class="charts">{"".join(blocks[-2:])}</div>'] if history else parts


def _picture(folder: Path | None, name: str, alt: str, figure: Figure, *, wide: bool = False) -> str:
    """HTML of a figure, which is written as a PNG file as well where a folder is given."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    content = buffer.getvalue()
    if folder is not None:
        write_atomically(folder / f"{name}.png", lambda file: file.write(content))
    return chart(alt, base64.b64encode(content).decode(), wide=wide)


def _number(value: float | None, form: str) -> str:
    return "" if value is None or not math.isfinite(value) else format(value, form)

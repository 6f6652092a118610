# SPDX-License-Identifier: Apache-2.0
"""The pictures of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_ronas.space import RonasSpace
from monai_ronas.utils import Reliability, above_trend
from monai_ronas.visualize.colours import class_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # a curve is told by more than its colour


def _new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Matplotlib is loaded here, as a bundle's own code runs without it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot_reward(trace: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]]) -> Figure:
    """Reward of every child with the mean of each episode, and the policy's entropy.

    Args:
        trace: one dictionary for each episode with ``episode``, ``reward`` and ``entropy`` (nats per decision).
        history: the lines of ``history.jsonl``.
    """
    figure = _new_figure(6, 3.5)
    axes = figure.add_subplot()
    scored = [line for line in history if line["reward"] is not None]
    axes.plot([h["episode"] for h in scored], [h["reward"] for h in scored], ".", color="0.7", label="candidate")
    axes.plot(
        [t["episode"] for t in trace], [t["reward"] for t in trace], "o-", color="C0", label="mean of the episode"
    )
    axes.set(xlabel="episode", ylabel="reward (mean foreground Dice)")
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    entropy = axes.twinx()
    entropy.plot([t["episode"] for t in trace], [t["entropy"] for t in trace], "s--", color="C1")
    entropy.set_ylabel("entropy per decision (nats)", color="C1")
    entropy.set_ylim(0, 1.1 * max((t["entropy"] for t in trace), default=0) or 1)
    return figure


def plot_probabilities(trace: Sequence[Mapping[str, Any]], space: RonasSpace) -> Figure:
    """Probability of each option along the policy's mode, over the episodes; a panel for each open decision.

    Args:
        trace: one dictionary for each episode with ``probabilities``, by decision name.
        space: the decisions and the names of their options.
    """
    decisions = [d for d in space if len(d) > 1]
    columns = 4
    rows = max(1, -(-len(decisions) // columns))
    figure = _new_figure(12, 2.2 * rows)
    for n, decision in enumerate(decisions, 1):
        axes = figure.add_subplot(rows, columns, n)
        values = np.array([t["probabilities"][decision.name] for t in trace]).T
        axes.stackplot([t["episode"] for t in trace], values, labels=[str(o) for o in decision.options])
        axes.set_title(decision.name, fontsize=9)
        axes.set_ylim(0, 1)
        axes.locator_params(axis="x", integer=True)
        axes.legend(fontsize=6, loc="lower left")
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, value) that no other point beats in both, by increasing cost."""
    best = -np.inf
    front = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return front


def _against(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float, Mapping[str, Any]]]:
    """Cost, reward above the episode's trend, and line of every scored child whose cost is known."""
    return [(float(line[key]), above, line) for above, line in above_trend(history) if key in line]


def pareto_children(history: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """The children that no other beats in cost and in reward above its episode's trend, by increasing cost.

    Args:
        history: the lines of ``history.jsonl``.
        key: the cost's key in a line.

    Returns:
        dictionaries with ``episode``, ``child``, ``id``, ``architecture``, ``reward``, ``above_trend`` and the cost.
    """
    children = _against(history, key)
    front = [children[i] for i in pareto_front([(cost, above) for cost, above, _ in children])]
    kept = ("episode", "child", "id", "architecture", "reward", key)
    return [{**{k: line[k] for k in kept}, "above_trend": round(above, 6)} for _, above, line in front]


def plot_cost(history: Sequence[Mapping[str, Any]], key: str, label: str) -> Figure:
    """Reward above the trend of its episode against a cost, with the Pareto front.

    Args:
        history: the lines of ``history.jsonl``.
        key: the cost's key in a line.
        label: text of the cost's axis.
    """
    points = [(cost, above) for cost, above, _ in _against(history, key)]
    front = [points[i] for i in pareto_front(points)]
    figure = _new_figure(5, 3.5)
    axes = figure.add_subplot()
    axes.plot([p[0] for p in points], [p[1] for p in points], ".", color="0.6", label="candidate")
    axes.step([p[0] for p in front], [p[1] for p in front], "o-", where="post", color="C3", label="Pareto front")
    axes.set(xlabel=label, ylabel="reward above the episode's trend")
    axes.legend(loc="lower right", frameon=False)
    return figure


def plot_race(candidates: Sequence[Mapping[str, Any]], unit: str) -> Figure:
    """Learning curves of the contenders of a race: Dice on the reward cases after each turn.

    Args:
        candidates: dictionaries with ``origin`` and ``curve``, as in :class:`~monai_ronas.utils.SearchResult`; those
            without a turn are left out.
        unit: of the training, ``"s"`` or ``"steps"``.
    """
    figure = _new_figure(6, 3.5)
    axes = figure.add_subplot()
    for n, candidate in enumerate(c for c in candidates if c.get("curve")):
        times, rewards = zip(*candidate["curve"], strict=True)
        line, marker = _LINES[n % len(_LINES)]
        axes.plot(times, rewards, linestyle=line, marker=marker, color=class_colour(n + 1), label=candidate["origin"])
    axes.set(xlabel=f"training of its own ({unit})", ylabel="Dice on reward cases")
    if axes.lines:
        axes.legend(fontsize=8, frameon=False)
    return figure


def plot_cases(per_class: Sequence[Sequence[float]], classes: Sequence[str]) -> Figure:
    """Dice of every case, a strip for each class, with the median as a line.

    Args:
        per_class: for each case the Dice of each class; NaN for a class that the case does not have.
        classes: names of the foreground classes.
    """
    values = np.asarray(per_class, dtype=float).reshape(-1, len(classes))
    figure = _new_figure(6, 1.2 + 0.5 * len(classes))
    axes = figure.add_subplot()
    for n in range(len(classes)):
        known = values[np.isfinite(values[:, n]), n]
        places = n + 0.3 * (np.arange(len(known)) * 0.618 % 1 - 0.5)  # evenly spread, by the golden ratio
        axes.plot(known, places, "o", color=class_colour(n + 1), markeredgecolor="0.3", markersize=6, alpha=0.8)
        if len(known):
            axes.plot([np.median(known)] * 2, [n - 0.3, n + 0.3], color="0.2", linewidth=2)
    names = [name if len(name) < 25 else f"{name[:22]}..." for name in classes]
    axes.set_yticks(range(len(classes)), names, parse_math=False)  # a name may have dollars
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set(xlabel="Dice of a case; line: median")
    axes.grid(axis="x", color="0.85")
    axes.set_axisbelow(True)
    return figure


def plot_reliability(without: Reliability, with_it: Reliability) -> Figure:
    """How often voxels are right, by how sure the network is of them; what holds what it says is on the diagonal.

    Args:
        without: a temperature.
        with_it: likewise.
    """
    figure = _new_figure(4.5, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7")
    for n, (name, found) in enumerate((("without temperature", without), ("with it", with_it))):
        line, marker = _LINES[n]
        known = np.asarray(found.count) > 0
        sure, right = (np.asarray(values)[known] for values in (found.sure, found.right))
        axes.plot(sure, right, line, marker=marker, color=f"C{n}", label=f"{name}: error {found.expected_error:.3f}")
    axes.set(xlabel="probability of the most likely class", ylabel="part of the voxels that are right")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", frameon=False)
    return figure


def draw_network(space: RonasSpace, architecture: Mapping[str, Any], channels: Sequence[int]) -> Figure:
    """The network of an architecture: encoder left, decoder right, the skips between them.

    Args:
        space: the space of the architecture.
        architecture: the architecture.
        channels: channels of the stages, finest first.
    """
    chosen = space.network_kwargs(architecture)
    stages = len(channels)
    figure = _new_figure(8, 1.1 * stages + 1)
    axes = figure.add_subplot()
    size = space.patch(architecture)
    left, right = {}, {}
    for level in range(1, stages + 1):
        size = tuple(s // k for s, k in zip(size, chosen["strides"][level - 1], strict=True))
        shape = "x".join(str(s) for s in size)
        text = f"{channels[level - 1]} channels, {shape}\ndilation {chosen['dilations'][level - 1]}"
        left[level] = _box(axes, (0.0 if level < stages else 1.5, -float(level)), text, "tab:blue")
        if level < stages:
            right[level] = _box(axes, (3.0, -float(level)), f"{channels[level - 1]} channels, {shape}", "tab:green")
    for level in range(1, stages):
        _arrow(axes, left[level], left[level + 1], "0.3")
        _arrow(axes, right.get(level + 1, left[stages]), right[level], "0.3")
    for level, source in chosen["skips"]:
        _arrow(axes, left[source], right[level], "tab:orange")
    axes.set_xlim(-0.8, 3.8)
    axes.set_ylim(-stages - 0.5, -0.5)
    axes.set_axis_off()
    axes.set_title(f"{chosen['act']}, patch {'x'.join(str(s) for s in space.patch(architecture))}", fontsize=10)
    return figure


def _box(axes: Axes, position: tuple[float, float], text: str, color: str) -> Text:
    box = {"fc": "white", "ec": color, "boxstyle": "round"}
    return axes.text(*position, text, ha="center", va="center", fontsize=8, bbox=box)


def _arrow(axes: Axes, start: Text, end: Text, color: str) -> None:
    ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch(), "shrinkA": 4, "shrinkB": 4}
    axes.annotate(
        "", xy=end.get_position(), xytext=start.get_position(), arrowprops={"arrowstyle": "->", "color": color, **ends}
    )

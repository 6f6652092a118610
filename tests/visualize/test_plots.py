# SPDX-License-Identifier: Apache-2.0
import io
import math

import pytest

from monai_ronas.visualize import (
    draw_network,
    pareto_children,
    pareto_front,
    plot_cases,
    plot_cost,
    plot_race,
    plot_reward,
)
from tests.visualize.cases import HISTORY, PER_CLASS, SPACE, TRACE, make_candidates


def test_pareto_front_keeps_what_nothing_beats():
    points = [(1.0, 0.5), (2.0, 0.4), (1.0, 0.6), (3.0, 0.9), (2.5, 0.6)]
    assert pareto_front(points) == [2, 3]
    assert pareto_front([]) == []


def test_pareto_children_are_compared_within_their_episodes():
    def child(episode, number, reward, macs):
        known = {"episode": episode, "child": number, "id": f"{episode}{number}", "architecture": {}}
        return {**known, "reward": reward, "macs": macs}

    late = [child(2, 1, 0.80, 10), child(2, 2, 0.95, 30), child(2, 3, 0.80, 30)]
    early = [child(1, 1, 0.40, 20), child(1, 2, 0.46, 5), child(1, 3, 0.40, 20)]
    front = pareto_children([*early, *late], "macs")
    assert [c["id"] for c in front] == ["12", "22"]
    assert [c["above_trend"] for c in front] == [0.04, 0.1]
    assert front[0]["macs"] == 5
    assert pareto_children([*early], "memory_mb") == []


def test_plots_show_the_scored_children_only():
    axes = plot_reward(TRACE, HISTORY).axes
    assert list(axes[0].lines[0].get_ydata()) == [0.5, 0.7]
    assert list(axes[1].lines[0].get_ydata()) == [0.6, 0.6]
    cost = plot_cost(HISTORY, "seconds", "s").axes[0]
    assert list(cost.lines[0].get_ydata()) == [0.0, 0.0]  # each alone in its episode
    assert list(cost.lines[1].get_xdata()) == [1.0]


def test_the_drawing_names_every_stage_and_skip():
    texts = [t.get_text() for t in draw_network(SPACE, SPACE.base, (16, 32, 64, 128)).axes[0].texts]
    patch = "x".join(str(s) for s in SPACE.patch(SPACE.base))
    assert any(f"16 channels, {patch}" in t for t in texts)
    assert sum("dilation" in t for t in texts) == 4
    assert texts.count("") == 3 + 3 + 3  # down, up, and one skip for each level


def test_contenders_have_their_curves_and_those_without_a_turn_none():
    axes = plot_race(make_candidates(), "steps").axes[0]
    assert [line.get_label() for line in axes.lines] == ["base network"]
    assert list(axes.lines[0].get_xdata()) == [600.0, 1234.5]
    assert list(axes.lines[0].get_ydata()) == [0.7, 0.81234]
    assert axes.get_xlabel() == "training of its own (steps)"
    many = [{"origin": f"number {n}", "curve": [[1.0, 0.5]]} for n in range(14)]
    lines = plot_race(many, "s").axes[0].lines
    assert len({(x.get_color(), x.get_linestyle(), x.get_marker()) for x in lines}) == 14
    assert not plot_race([], "s").axes[0].lines


def test_every_case_is_in_the_strip_of_its_class():
    axes = plot_cases(PER_CLASS, ["anterior", "a name that is much too long for an axis"]).axes[0]
    points, median, others, other_median = axes.lines
    assert list(points.get_xdata()) == [0.9, 0.5, 0.95]
    assert all(abs(y) <= 0.15 for y in points.get_ydata())
    assert list(median.get_xdata()) == [0.9, 0.9]
    assert list(others.get_xdata()) == [0.7, 0.85]
    assert other_median.get_xdata()[0] == pytest.approx(0.775)
    assert points.get_color() == "#e69f00"
    assert others.get_color() == "#56b4e9"
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["anterior", "a name that is much to..."]
    absent = plot_cases([[math.nan]], ["$absent$_{"])
    assert len(absent.axes[0].lines) == 1
    absent.savefig(io.BytesIO())  # its name is no formula

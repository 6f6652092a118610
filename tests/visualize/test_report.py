# SPDX-License-Identifier: Apache-2.0
import base64
import re

import pytest
from PIL import Image

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore, SearchResult
from monai_ronas.visualize import (
    draw_network,
    pareto_children,
    pareto_front,
    plot_cost,
    plot_reward,
    write_report,
)

SPACE = RonasSpace((32, 40, 32))
PICTURES = ("network", "reward", "probabilities", "dice_seconds", "dice_memory")
HISTORY = [
    {"episode": 1, "child": 1, "id": "a", "architecture": {}, "reward": 0.5, "seconds": 1.0, "memory_mb": 100.0},
    {"episode": 1, "child": 2, "id": "b", "architecture": {}, "reward": None, "seconds": 1.0, "memory_mb": 100.0},
    {"episode": 2, "child": 1, "id": "c", "architecture": {}, "reward": 0.7, "seconds": 2.0, "memory_mb": 120.0},
]
TRACE = [
    {
        "episode": n,
        "reward": 0.5,
        "entropy": 0.6,
        "probabilities": {d.name: [1 / len(d)] * len(d) for d in SPACE.decisions},
    }
    for n in (1, 2)
]


def result():
    base = SPACE.base
    row = {"architecture": base.to_dict(), "id": base.id, "reward": 0.81234, "trained": 1234.5, "forecast": 0.95678}
    other = {**row, "id": "other", "reward": None, "trained": None, "forecast": None}
    return SearchResult(
        architecture=base,
        score=ChildScore(reward=0.8, per_case=(0.7, 0.9), seconds=1.0, peak_memory_mb=1.0),
        candidates=[{"origin": "base network", **row}, {"origin": "<b>random</b>", **other}],
        case_names=("a", "b"),
    )


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


def test_the_report_needs_no_other_file_and_interprets_no_text(tmp_path):
    network = RonasSuperNet(SPACE, 1, 2, channels=(2, 2, 2, 2))
    hostile = "<script>alert(1)</script>"
    path = write_report(
        tmp_path, network=network, result=result(), trace=TRACE, history=HISTORY, summary=f"data set {hostile}"
    )
    page = path.read_text(encoding="utf-8")
    assert path.name == "search_report.html"
    assert hostile not in page
    assert "&lt;script&gt;" in page
    assert f"<td>base network</td><td>{SPACE.base.id}</td><td>1234</td><td>0.8123</td><td>0.9568</td>" in page
    assert "<td>&lt;b&gt;random&lt;/b&gt;</td><td>other</td><td></td><td></td><td></td>" in page
    assert SPACE.base.id in page
    assert "http" not in page
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(embedded) == len(PICTURES) == page.count("<img")
    for name, data in zip(PICTURES, embedded, strict=True):
        assert (tmp_path / f"{name}.png").read_bytes() == base64.b64decode(data)
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 100


@pytest.mark.parametrize("empty", [[], [{"episode": 1, "reward": None, "seconds": 1.0, "peak_memory_mb": 1.0}]])
def test_a_search_without_a_scored_child_still_has_a_report(tmp_path, empty):
    network = RonasSuperNet(SPACE, 1, 2, channels=(2, 2, 2, 2))
    write_report(tmp_path, network=network, result=result(), trace=[], history=empty, summary="")
    assert (tmp_path / "search_report.html").exists()

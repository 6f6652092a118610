# SPDX-License-Identifier: Apache-2.0
"""The report of a search as one HTML file."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.utils import SearchResult, write_atomically
from monai_ronas.visualize.plots import draw_network, pareto_children, plot_cost, plot_probabilities, plot_reward

_STYLE = """body { font: 15px sans-serif; max-width: 60em; margin: 2em auto }
td, th { padding: .2em .8em; text-align: left }
img { max-width: 100% }"""


def write_report(
    output_dir: str | Path,
    *,
    network: RonasSuperNet,
    result: SearchResult,
    trace: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    summary: str,
) -> Path:
    """Write ``search_report.html``, which needs no other file, its pictures as PNG files, and ``pareto.json``.

    Args:
        output_dir: the folder.
        network: the supernet.
        result: what the search found.
        trace: the controller's state after each episode (``ControllerTrainer.state.trace``).
        history: the lines of ``history.jsonl``.
        summary: text that opens the report; shown as it is, never interpreted.

    Returns:
        path of the HTML file.
    """
    figures: list[tuple[str, str, Figure]] = [
        (
            "network",
            "The network",
            draw_network(network.space, result.architecture, network.network_kwargs(result.architecture)["channels"]),
        ),
        ("reward", "Reward and entropy", plot_reward(trace, history)),
        ("probabilities", "What the policy came to prefer", plot_probabilities(trace, network.space)),
        ("dice_seconds", "Dice against scoring time", plot_cost(history, "seconds", "seconds for the episode's cases")),
        ("dice_memory", "Dice against memory", plot_cost(history, "memory_mb", "memory of inference (MB, estimated)")),
    ]
    parts = [f"<h1>Architecture search</h1><pre>{html.escape(summary)}</pre>", _candidates(result)]
    for name, title, figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        picture = buffer.getvalue()
        write_atomically(Path(output_dir) / f"{name}.png", lambda file, p=picture: file.write(p))  # type: ignore[misc]
        encoded = base64.b64encode(picture).decode()
        parts.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{encoded}">')
    page = f'<!doctype html><meta charset="utf-8"><title>search report</title><style>{_STYLE}</style>{"".join(parts)}'
    fronts = {key: pareto_children(history, key) for key in ("seconds", "macs", "parameters", "memory_mb")}
    text = json.dumps(fronts, indent=1) + "\n"
    write_atomically(Path(output_dir) / "pareto.json", lambda file: file.write(text.encode()))
    path = Path(output_dir) / "search_report.html"
    write_atomically(path, lambda file: file.write(page.encode()))
    return path


def _candidates(result: SearchResult) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(c['origin'])}</td><td>{c['id']}</td><td>{_number(c['trained'], '.4g')}</td>"
        f"<td>{_number(c['reward'], '.4f')}</td><td>{_number(c['forecast'], '.4f')}</td></tr>"
        for c in result.candidates
    )
    head = "<tr><th>origin</th><th>id</th><th>trained (s or steps)</th><th>Dice</th><th>soft Dice, expected</th></tr>"
    return f"<h2>The race</h2><table>{head}{rows}</table>"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)

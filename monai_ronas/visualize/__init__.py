# SPDX-License-Identifier: Apache-2.0
"""The pictures and the report of a search."""

from monai_ronas.visualize.plots import (
    draw_network,
    pareto_children,
    pareto_front,
    plot_cases,
    plot_cost,
    plot_probabilities,
    plot_race,
    plot_reliability,
    plot_reward,
)
from monai_ronas.visualize.report import write_report
from monai_ronas.visualize.segmentations import telling_cases

__all__ = [
    "draw_network",
    "pareto_children",
    "pareto_front",
    "plot_cases",
    "plot_cost",
    "plot_probabilities",
    "plot_race",
    "plot_reliability",
    "plot_reward",
    "telling_cases",
    "write_report",
]

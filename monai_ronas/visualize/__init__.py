# SPDX-License-Identifier: Apache-2.0
from monai_ronas.visualize.plots import (
    draw_network,
    pareto_children,
    pareto_front,
    plot_cost,
    plot_probabilities,
    plot_reward,
)
from monai_ronas.visualize.report import write_report

__all__ = [
    "draw_network",
    "pareto_children",
    "pareto_front",
    "plot_cost",
    "plot_probabilities",
    "plot_reward",
    "write_report",
]

# SPDX-License-Identifier: Apache-2.0
"""What tells a search from another, so that none goes on from the checkpoints of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import Compose

import monai_ronas
from monai_ronas.bundle.settings import Settings
from monai_ronas.data import Study, described, transform_hash
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Plan, RonasSpace

_SETTINGS = (
    *("seed", "strategy", "learning_rate", "amp", "warmup_epochs", "child_epochs", "children_per_episode"),
    *("reward_cases_per_episode", "warmup_until", "search_until", "batch_size", "final_on_reward_cases"),
    *("memory_budget_gb", "deterministic"),
)


def search_identity(
    settings: Settings,
    study: Study,
    plan: Plan,
    space: RonasSpace,
    network: RonasSuperNet,
    optimizer: torch.optim.Optimizer,
    *,
    loss: Any,
    preprocessing: Compose,
    augmentation: Compose | None,
    controller: Sequence[Any],
    policy_optimizer: Sequence[Any],
    prior: Any,
    iterations_per_epoch: int,
) -> dict[str, Any]:
    """What must be the same for a search to be continued.

    The lengths that may grow, ``episodes``, ``final_epochs`` and ``time_budget_minutes``, are not part of it.

    Args:
        settings: of the search.
        study: its data.
        plan: its plan.
        space: its architectures.
        network: the supernet.
        optimizer: of the supernet; its learning rate counts as the setting.
        loss: of the supernet.
        preprocessing: of a case.
        augmentation: of a crop, or None.
        controller: what the policy learns from, its loss and its advantage.
        policy_optimizer: class and learning rate of the policy's optimiser. Not the optimiser itself, since ``run
            export`` cannot build a policy for every memory.
        prior: what the race expects of learning curves.
        iterations_per_epoch: training steps of an epoch.

    Returns:
        Plain types by name, for :class:`~monai_ronas.handlers.SearchCheckpoint`. The names are those of the settings
        where there are such, since a refusal tells them.
    """
    options = {name: value for name, value in optimizer.defaults.items() if name != "lr"}
    return {
        **study.identity(),
        **{name: getattr(settings, name) for name in _SETTINGS},
        "version": monai_ronas.__version__,
        "space": {
            **space.to_dict(),  # in which strides and widths without a choice are not
            "strides": space.strides(space.base),
            "kernel_sizes": space.kernel_sizes,
            "widths": space.widths,
        },
        "network": described(network.kwargs),
        "optimizer": [type(optimizer).__name__, described(options)],
        "loss": described(loss),
        "preprocessing": transform_hash(preprocessing.transforms),
        "augment": described(augmentation),
        "controller": described(list(controller)),
        "controller#optimizer": list(policy_optimizer),
        "controller#race#prior": described(prior),
        "iterations_per_epoch": iterations_per_epoch,
        "channels": str(settings.channels),
        "plan": str([plan.strides, plan.patch, plan.batch_size]),
        "flip_axes": str(study.flip_axes),
        "cost": str([settings.cost, settings.cost_exponent]),
    }

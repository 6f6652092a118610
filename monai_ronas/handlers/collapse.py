# SPDX-License-Identifier: Apache-2.0
"""A controller that has nothing left to choose."""

from __future__ import annotations

import logging

from ignite.engine import Engine

from monai_ronas.engines import ControllerTrainer, EpisodeEvents

logger = logging.getLogger(__name__)


class CollapseWarning:
    """Say, once, that a controller samples one and the same architecture long before the search ends.

    Args:
        entropy: mean entropy per decision, in nats, below which a policy counts as decided.
        until: share of the episodes after which that is as it should be.
    """

    def __init__(self, *, entropy: float = 0.01, until: float = 0.5) -> None:
        self.entropy = entropy
        self.until = until
        self.collapsed = False

    def attach(self, engine: Engine) -> None:
        """Look after each update of the policy of ``engine``."""
        engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, self)

    def __call__(self, engine: ControllerTrainer) -> None:
        """Look at the episode just completed."""
        early = engine.state.epoch < self.until * (engine.state.max_epochs or 0)
        same = len(engine.state.children) > 1 and len(set(engine.state.children)) == 1
        if early and same and engine.state.metrics["entropy"] < self.entropy and not self.collapsed:
            self.collapsed = True
            logger.warning(
                "the controller has collapsed in episode %d of %d: it samples %s alone; a larger entropy_weight of "
                "controller#loss keeps it looking around",
                engine.state.epoch,
                engine.state.max_epochs,
                engine.state.children[0].id,
            )

# SPDX-License-Identifier: Apache-2.0
"""Searches on a table of rewards instead of a network: what is good is known."""

from __future__ import annotations

import random

import numpy as np
import torch

from monai_ronas.controllers import make_controller
from monai_ronas.engines import ControllerTrainer, EpisodeEvents, EpisodeSampler
from monai_ronas.losses import ReinforceLoss
from monai_ronas.space import RonasSpace
from monai_ronas.utils import ChildScore

SPACE = RonasSpace((43, 59, 47))
RANDOM = [SPACE.sample(random.Random(n)) for n in range(400)]


class PlantedScorer:
    """The reward is the share of the decisions that are as in a planted architecture, and noise, and a trend.

    Args:
        seed: seed of the planted architecture and of the noise.
        signal: whether the share counts at all.
        noise: standard deviation of the noise, in those of random architectures.
        trend: what each score is higher than the one before.
    """

    def __init__(self, *, seed: int = 0, signal: bool = True, noise: float = 0.0, trend: float = 0.0) -> None:
        self.sampler = EpisodeSampler(1, per_episode=1)
        self.case_names = self.cases = ["case"]
        self.best = SPACE.sample(random.Random(1000 + seed))
        self.signal = signal
        self.trend = trend
        self.scored = 0
        self.spread = float(np.std([self.worth(a) for a in RANDOM]))
        self.mean = float(np.mean([self.worth(a) for a in RANDOM]))
        self.noise = noise * self.spread
        self.generator = np.random.default_rng(seed)

    def worth(self, architecture):
        """The share of the decisions that are right."""
        return sum(architecture[d.name] == self.best[d.name] for d in SPACE) / len(SPACE)

    def above_random(self, architecture):
        """How much better than random architectures, in standard deviations of these."""
        return (self.worth(architecture) - self.mean) / self.spread

    def score(self, architecture):
        self.scored += 1
        reward = self.signal * self.worth(architecture) + self.trend * self.scored
        reward += self.noise * self.generator.standard_normal()
        return ChildScore(reward, (reward,), seconds=0.1, peak_memory_mb=1.0)


def planted_search(scorer, *, episodes, children=10, seed=0, strategy="reinforce", watch=None):
    """A search with the settings of ``search.json``, run; ``watch`` is called with the engine after each episode."""
    policy = make_controller(strategy, SPACE, seed=seed)
    weights = list(policy.parameters())
    engine = ControllerTrainer(
        device="cpu",
        max_epochs=episodes,
        children_per_episode=children,
        controller=policy,
        scorer=scorer,
        optimizer=torch.optim.SGD(weights, lr=1.0) if weights else None,
        loss_function=ReinforceLoss(entropy_weight=0.05),
        seed=seed,
    )
    if watch is not None:
        engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, watch)
    engine.run()
    return engine

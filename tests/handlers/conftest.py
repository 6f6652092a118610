# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_ronas.controllers import LSTMController
from monai_ronas.engines import ControllerTrainer, EpisodeSampler
from monai_ronas.utils import ChildScore


class StepScorer:
    """The reward is the number of training steps made so far: it grows with every slice."""

    def __init__(self, slices):
        self.slices = slices
        self.sampler = EpisodeSampler(2, per_episode=1)
        self.case_names = ("case0", "case1")
        self.fail = False

    @property
    def cases(self):
        return [f"case{i}" for i in self.sampler]

    def seconds_of_a_case(self):
        return 0.25

    def score(self, architecture):
        reward = float(self.slices.steps)
        status = "failed" if self.fail else "ok"
        return ChildScore(float("nan") if self.fail else reward, (reward,), 0.25, 10.0, status)


@pytest.fixture
def make_engine():
    """A search of a few children an episode on the given slices, with handlers."""

    def make(slices, handlers=(), episodes=2, seed=0, children=2, at_once=None):
        torch.manual_seed(seed)
        policy = LSTMController(slices.network.space)
        return ControllerTrainer(
            device="cpu",
            max_epochs=episodes,
            children_per_episode=children,
            controller=policy,
            scorer=StepScorer(slices),
            optimizer=torch.optim.Adam(policy.parameters(), lr=0.01),
            seed=seed,
            at_once=at_once,
            train_handlers=list(handlers),
        )

    return make

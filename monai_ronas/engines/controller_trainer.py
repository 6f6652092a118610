# SPDX-License-Identifier: Apache-2.0
"""The engine of the search."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import EventEnum, Events
from ignite.metrics import Metric
from monai.engines.trainer import Trainer
from monai.engines.utils import default_metric_cmp_fn

from monai_ronas.controllers import Controller
from monai_ronas.engines.scorer import ChildScorer
from monai_ronas.losses import ExponentialBaseline, LeaveOneOutBaseline, ReinforceLoss
from monai_ronas.space import Architecture
from monai_ronas.utils import ChildScore

_LEAST_SPREAD = 1e-4  # of Dice: children closer together than this are not told apart


class EpisodeEvents(EventEnum):
    """Events of the search beside Ignite's own.

    ``CHILDREN_SAMPLED``: the episode's children are in ``state.children``, none is scored; train them now.
    ``POLICY_UPDATED``: the controller has learnt from the episode; ``state.metrics`` is fresh.
    """

    CHILDREN_SAMPLED = "children_sampled"
    POLICY_UPDATED = "policy_updated"


class ControllerTrainer(Trainer):
    """Train a controller with REINFORCE: an iteration scores a child, an epoch is an episode.

    At the start of an episode its children are sampled and its cases chosen. Handlers of
    :attr:`EpisodeEvents.CHILDREN_SAMPLED` train the children. Every iteration then scores one child on the episode's
    cases, all with the same shared weights. A handler that has no time for all of them leaves the others out with
    :meth:`keep_children`. At the end the log-probabilities of the children are recomputed in one
    batch, and the controller is updated once with an advantage for each child. Decisions of the kind ``"training"`` do
    not change a child's score; where a handler measured ``state.training_gain``, they are credited with that instead. A
    child that a handler put into ``state.out_of_memory`` is not scored: its status is ``"oom"``.

    ``state.output`` of an iteration is a list with one dictionary, as MONAI's engines give after decollation:
    ``reward``, ``seconds``, ``peak_memory_mb``. ``state.metrics`` has ``reward`` (mean over the episode of what is
    maximised), ``entropy`` (mean per decision, nats) and ``loss``.

    Args:
        device: device of the supernet; the controller itself stays on the CPU.
        max_epochs: number of episodes.
        children_per_episode: children sampled and scored in an episode.
        controller: the policy.
        scorer: scores a child.
        optimizer: optimiser of the controller's weights; None for a controller that does not learn.
        loss_function: objective of the update.
        baseline: turns an episode's rewards into advantages; rewards and training gains get a copy each.
        objective: what the controller maximises of a scored child, such as
            :class:`~monai_ronas.losses.WeightedProduct`. Default: its reward.
        normalize_advantages: divide the advantages of an episode by their standard deviation, or by 1e-4 where that
            is less, so that rounding is not taken for a difference.
        seed: seed of the sampling.
        key_metric: as in MONAI's engines. Without one, ``reward`` is the key metric.
        additional_metrics: as in MONAI's engines.
        metric_cmp_fn: as in MONAI's engines.
        train_handlers: handlers with ``attach(engine)``.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        children_per_episode: int,
        controller: Controller,
        scorer: ChildScorer,
        optimizer: torch.optim.Optimizer | None = None,
        loss_function: ReinforceLoss | None = None,
        baseline: LeaveOneOutBaseline | ExponentialBaseline | None = None,
        objective: Callable[[ChildScore, Architecture], float] | None = None,
        normalize_advantages: bool = True,
        seed: int = 0,
        key_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        train_handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=range(children_per_episode),
            key_metric=key_metric,
            additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn,
            event_names=[EpisodeEvents],
            decollate=False,
        )
        self.controller = controller
        self.scorer = scorer
        self.optimizer = optimizer
        self.loss_function = loss_function or ReinforceLoss()
        baseline = baseline or LeaveOneOutBaseline()
        self.baselines = {kind: copy.deepcopy(baseline) for kind in ("network", "training")}
        self.objective = objective
        self.normalize_advantages = normalize_advantages
        self.generator = torch.Generator().manual_seed(seed)
        self.state.children = []
        self.state.indices = None
        self.state.masks = None
        self.state.rewards = []
        self.state.training_gain = None
        self.state.out_of_memory = set()
        self.state.trace = []
        self.state.best_child = None
        self.state.best_advantage = -math.inf
        self.add_event_handler(Events.EPOCH_STARTED, ControllerTrainer._begin_episode)
        self.add_event_handler(Events.EPOCH_COMPLETED, ControllerTrainer._end_episode)
        if train_handlers is not None:
            self._register_handlers(train_handlers)

    def run(self) -> None:  # type: ignore[override]
        """Run the episodes that are left; an engine that has made them all does nothing."""
        if self.state.epoch < self.state.max_epochs:
            super().run()

    def _begin_episode(self) -> None:
        self.state.indices = self.controller.sample(self.state.epoch_length, self.generator)
        self.state.masks = self.controller.masks(self.state.indices)
        self.state.children = [self.controller.space.decode(row) for row in self.state.indices.tolist()]
        self.state.rewards = []
        self.state.training_gain = None
        self.state.out_of_memory = set()
        self.scorer.sampler.choose(self.state.epoch)
        self.fire_event(EpisodeEvents.CHILDREN_SAMPLED)

    def keep_children(self, number: int) -> None:
        """Leave all but the first ``number`` children, at least one, out of the episode.

        For handlers of :attr:`EpisodeEvents.CHILDREN_SAMPLED`.
        """
        self.state.children = self.state.children[: max(number, 1)]
        self.state.indices = self.state.indices[: max(number, 1)]
        self.state.masks = [mask[: max(number, 1)] for mask in self.state.masks]

    def _iteration(  # type: ignore[override]
        self, engine: Any, batchdata: Any
    ) -> list[dict[str, Any]]:
        """Score the episode's next child.

        Args:
            engine: this engine.
            batchdata: position of the child in the episode, from 0.
        """
        architecture = engine.state.children[int(batchdata)]
        if int(batchdata) + 1 == len(engine.state.children) < engine.state.epoch_length:
            engine.terminate_epoch()
        if architecture in engine.state.out_of_memory:
            score = ChildScore(math.nan, (math.nan,) * len(engine.scorer.cases), 0.0, 0.0, status="oom")
        else:
            score = engine.scorer.score(architecture)
        engine.state.score = score
        engine.state.architecture = architecture
        worth = score.reward if engine.objective is None else engine.objective(score, architecture)
        engine.state.rewards.append(worth if score.status == "ok" else math.nan)
        engine.state.output = [
            {"reward": score.reward, "seconds": score.seconds, "peak_memory_mb": score.peak_memory_mb}
        ]
        return engine.state.output

    def advantages(self) -> torch.Tensor:
        """Advantage of every decision of every child of the episode, ``(N, T)``."""
        decisions = list(self.controller.space)
        by_kind = {"network": self._advantage("network", torch.tensor(self.state.rewards))}
        gain = self.state.training_gain
        by_kind["training"] = (
            torch.zeros_like(by_kind["network"]) if gain is None else self._advantage("training", torch.as_tensor(gain))
        )
        return torch.stack([by_kind[d.kind] for d in decisions], dim=1)

    def _advantage(self, kind: str, rewards: torch.Tensor) -> torch.Tensor:
        advantage = self.baselines[kind].advantage(rewards.float())
        if self.normalize_advantages and len(advantage) > 1:
            advantage = advantage / advantage.std().clamp_min(_LEAST_SPREAD)
        return advantage

    def update(self) -> torch.Tensor:
        """One step of the controller on the episode's children; returns the loss."""
        log_prob, entropy = self.controller.evaluate(self.state.indices, self.state.masks)
        loss = self.loss_function(log_prob, entropy, self.advantages())
        if self.optimizer is not None and loss.requires_grad:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        self.state.metrics["entropy"] = float(entropy.detach().mean())
        return loss.detach()

    def _end_episode(self) -> None:
        rewards = torch.tensor(self.state.rewards)
        self._remember_best(rewards)
        self.state.metrics["loss"] = float(self.update())
        self.state.metrics["reward"] = float(rewards.nanmean())
        self.state.trace.append(
            {
                "episode": self.state.epoch,
                "reward": self.state.metrics["reward"],
                "entropy": self.state.metrics["entropy"],
                "probabilities": self.controller.probabilities(),
            }
        )
        if self.state.key_metric_name is None:
            self.state.key_metric_name = "reward"
        if self.state.key_metric_name == "reward" and self.state.metrics["reward"] > self.state.best_metric:
            self.state.best_metric = self.state.metrics["reward"]
            self.state.best_metric_epoch = self.state.epoch
        self.fire_event(EpisodeEvents.POLICY_UPDATED)

    def _remember_best(self, rewards: torch.Tensor) -> None:
        """Rewards of different episodes come from different weights: compare by the distance to the episode's mean."""
        above = (rewards - rewards.nanmean()).nan_to_num(-math.inf)
        if len(above) and float(above.max()) > self.state.best_advantage:
            self.state.best_advantage = float(above.max())
            self.state.best_child = self.state.children[int(above.argmax())]

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """All that the next episode depends on, apart from the shared weights; tensors and plain types."""
        return {
            "epoch": self.state.epoch,
            "best_metric": self.state.best_metric,
            "best_metric_epoch": self.state.best_metric_epoch,
            "trace": list(self.state.trace),
            "best_advantage": self.state.best_advantage,
            "best_child": None if self.state.best_child is None else self.state.best_child.to_json(),
            "controller": self.controller.state_dict(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "baselines": {kind: baseline.state_dict() for kind, baseline in self.baselines.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        """Inverse of :meth:`state_dict`."""
        self.state.iteration = state["epoch"] * self.state.epoch_length  # a last episode may have been cut short
        for name in ("epoch", "best_metric", "best_metric_epoch", "best_advantage", "trace"):
            setattr(self.state, name, state[name])
        self.state.best_child = None if state["best_child"] is None else Architecture.from_json(state["best_child"])
        self.controller.load_state_dict(state["controller"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        for kind, baseline in self.baselines.items():
            baseline.load_state_dict(state["baselines"][kind])
        self.generator.set_state(state["generator"])

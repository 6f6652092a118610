# SPDX-License-Identifier: Apache-2.0
"""The engine of the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.engines.trainer import Trainer
from monai.engines.utils import default_metric_cmp_fn

from monai_ronas.controllers import Controller
from monai_ronas.engines.best_child import BestChild
from monai_ronas.engines.episode_events import EpisodeEvents
from monai_ronas.engines.scorer import ChildScorer
from monai_ronas.errors import SettingError
from monai_ronas.losses import ReinforceLoss, ShrunkenAdvantage
from monai_ronas.space import Architecture
from monai_ronas.utils import ChildScore, TrainingError
from monai_ronas.utils.collectives import from_all, take_from_main
from monai_ronas.utils.ranks import apart, number_of_ranks, own_rank

_FEWEST_CHILDREN = 4  # of an episode that can tell children from noise


class ControllerTrainer(Trainer):
    """Train a controller with REINFORCE: an iteration trains and scores a child, an epoch is an episode.

    At the start of an episode its children are sampled and its cases chosen. Each iteration is the turn of one child:
    handlers of :attr:`EpisodeEvents.CHILD_SELECTED` train it, and it is scored at once on the episode's cases. Its
    reward is thus what it has after as much training as the others, on weights that all share. In many processes
    children take their turns in rounds, one a process, apart from the others: see ``at_once``. A handler that has no
    time for all children ends the episode with :meth:`end_episode`. A handler that sets ``state.out_of_memory`` keeps
    its child from being scored: its status is ``"oom"``.

    In an episode of four children or more, one of them is another's copy, in two places drawn at random: their rewards
    tell how much is noise. At the end the log-probabilities of the children are recomputed in one batch, and the
    controller is updated once; what an advantage counts depends on the noise
    (see :class:`~monai_ronas.losses.ShrunkenAdvantage`). Fewer children teach nothing.

    ``state.best_child`` is the best child so far (see :class:`~monai_ronas.engines.best_child.BestChild`).

    ``state.output`` of an iteration is a list with one dictionary, as MONAI's engines give after decollation:
    ``reward``, ``seconds``, ``peak_memory_mb``. ``state.metrics`` has ``reward`` (mean over the episode of what is
    maximised), ``entropy`` (mean per decision, nats), ``noise`` (share of the rewards' variance) and ``loss``.

    Args:
        device: device of the supernet; the controller itself stays on the CPU.
        max_epochs: number of episodes.
        children_per_episode: children trained and scored in an episode, the copy included.
        controller: the policy.
        scorer: scores a child.
        optimizer: optimiser of the controller's weights; None for a controller that does not learn. One that divides by
            the size of the gradients, such as Adam, undoes what the advantages say of the noise.
        loss_function: objective of the update.
        advantage: turns an episode's rewards into advantages. Default: with its own defaults.
        objective: what the controller maximises of a scored child, such as
            :class:`~monai_ronas.losses.WeightedProduct`: the reward times a positive factor. Default: its reward.
        seed: seed of the sampling.
        at_once: number of children in a round; handlers of :attr:`EpisodeEvents.ROUND_STARTED` let them begin from the
            same weights. They are dealt over the processes; what comes out depends on this number, not on that of the
            processes. With 1 there are no rounds, and all processes share each turn. Default: the number of processes.
        key_metric: as in MONAI's engines. Without one, ``reward`` is the key metric.
        additional_metrics: as in MONAI's engines.
        metric_cmp_fn: as in MONAI's engines.
        train_handlers: handlers with ``attach(engine)``.

    Raises:
        SettingError: when ``at_once`` is not a positive whole number.
        TrainingError: on all ranks, when one of them cannot train its child.

    Example:
        >>> from monai_ronas.controllers import LSTMController
        >>> from monai_ronas.engines import EpisodeSampler
        >>> from monai_ronas.space import Decision, SearchSpace
        >>> class Scorer:  # in a search, a ChildScorer
        ...     sampler, cases = EpisodeSampler(1), ["case"]
        ...     def score(self, architecture):
        ...         reward = float(architecture["width"] == 2)
        ...         return ChildScore(reward, (reward,), seconds=0.0, peak_memory_mb=0.0)
        >>> policy = LSTMController(SearchSpace([Decision("width", [1, 2])]))
        >>> engine = ControllerTrainer("cpu", 10, 8, policy, Scorer(), torch.optim.SGD(policy.parameters(), lr=1.0))
        >>> engine.run()
        >>> engine.state.best_child.to_dict()
        {'width': 2}
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
        advantage: ShrunkenAdvantage | None = None,
        objective: Callable[[ChildScore, Architecture], float] | None = None,
        seed: int = 0,
        at_once: int | None = None,
        key_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        train_handlers: Sequence | None = None,
    ) -> None:
        if at_once is not None and (not isinstance(at_once, int) or at_once < 1):
            raise SettingError(f"at_once must be a positive whole number, received {at_once!r}.")
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
        self.advantage = advantage or ShrunkenAdvantage()
        self.objective = objective
        self.generator = torch.Generator().manual_seed(seed)
        self._at_once = at_once
        self._scored: list[ChildScore] = []  # of the present round, those whose iteration is still to come
        self.state.children = []
        self.state.indices = None
        self.state.masks = None
        self.state.rewards = []
        self.state.out_of_memory = False
        self.state.position = 0
        self.state.trace = []
        self.state.best_child = None
        self.best = BestChild()
        self.add_event_handler(Events.EPOCH_STARTED, ControllerTrainer._begin_episode)
        self.add_event_handler(Events.EPOCH_COMPLETED, ControllerTrainer._end_episode)
        if train_handlers is not None:
            self._register_handlers(train_handlers)

    @property
    def at_once(self) -> int:
        """Children of a round."""
        return self._at_once or number_of_ranks()

    def run(self) -> None:  # type: ignore[override]
        """Run the episodes that are left; an engine that has made them all does nothing."""
        if self.state.epoch < self.state.max_epochs:
            super().run()

    def _begin_episode(self) -> None:
        self.state.indices = self.controller.sample(self.state.epoch_length, self.generator)
        if self.state.epoch_length >= _FEWEST_CHILDREN:
            original, copy = torch.randperm(self.state.epoch_length, generator=self.generator)[:2].tolist()
            self.state.indices[copy] = self.state.indices[original]
        take_from_main([self.state.indices])
        self.state.masks = self.controller.masks(self.state.indices)
        self.state.children = [self.controller.space.decode(row) for row in self.state.indices.tolist()]
        self.state.rewards = []
        self._scored = []
        self.scorer.sampler.choose(self.state.epoch)
        self.fire_event(EpisodeEvents.CHILDREN_SAMPLED)

    def end_episode(self) -> None:
        """Leave the children that have not been scored out of the episode.

        For handlers of Ignite's ``ITERATION_COMPLETED``: at least one child has been scored by then. Within a round
        nothing happens, as all its children have been scored.
        """
        number = len(self.state.rewards)
        if not self._scored and number < len(self.state.children):
            self.state.children = self.state.children[:number]
            self.state.indices = self.state.indices[:number]
            self.state.masks = [mask[:number] for mask in self.state.masks]
            self.terminate_epoch()

    def _iteration(  # type: ignore[override]
        self, engine: Any, batchdata: Any
    ) -> list[dict[str, Any]]:
        """Have the episode's next child trained and scored, with those of its round.

        Args:
            engine: this engine.
            batchdata: position of the child in the episode, from 0.
        """
        position = int(batchdata)
        if not self._scored:
            self._scored = [self._turn(position)] if self.at_once == 1 else self._round(position)
        architecture, score = engine.state.children[position], self._scored.pop(0)
        engine.state.position, engine.state.architecture, engine.state.score = position, architecture, score
        worth = score.reward if engine.objective is None else engine.objective(score, architecture)
        engine.state.rewards.append(worth if score.status == "ok" else math.nan)
        engine.state.output = [
            {"reward": score.reward, "seconds": score.seconds, "peak_memory_mb": score.peak_memory_mb}
        ]
        return engine.state.output

    def _turn(self, position: int) -> ChildScore:
        """Have a child trained, and score it."""
        self.state.position = position
        self.state.architecture = self.state.children[position]
        self.state.out_of_memory = False
        self.fire_event(EpisodeEvents.CHILD_SELECTED)
        if self.state.out_of_memory:
            return ChildScore(math.nan, (math.nan,) * len(self.scorer.cases), 0.0, 0.0, status="oom")
        return self.scorer.score(self.state.architecture)

    def _round(self, first: int) -> list[ChildScore]:
        """The turns of the next children, dealt over the processes."""
        positions = range(first, min(first + self.at_once, len(self.state.children)))
        self.fire_event(EpisodeEvents.ROUND_STARTED)
        own, wrong = positions[own_rank() :: number_of_ranks()], ""
        found: dict[int, ChildScore] = {}
        with apart():
            try:
                found = {position: self._turn(position) for position in own}
            except TrainingError as error:
                wrong = str(error)
        told = next(filter(None, from_all(wrong)), "")
        if told:
            raise TrainingError(told)
        scores = {position: score for part in from_all(found) for position, score in part.items()}
        self.fire_event(EpisodeEvents.ROUND_COMPLETED)
        return [scores[position] for position in positions]

    def update(self, advantages: np.ndarray) -> torch.Tensor:
        """One step of the controller on the episode's children.

        Args:
            advantages: of the children, ``(N,)``.

        Returns:
            the loss.
        """
        given = torch.as_tensor(advantages, dtype=torch.float32)
        log_prob, entropy = self.controller.evaluate(self.state.indices, self.state.masks)
        loss = self.loss_function(log_prob, entropy, given)
        if self.optimizer is not None and loss.requires_grad:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                after, _ = self.controller.evaluate(self.state.indices, self.state.masks)
                weights = (after - log_prob).sum(dim=1).softmax(dim=0)
            self.best.rise(weights.numpy(), given.numpy())
        self.state.metrics["entropy"] = float(entropy.detach().mean())
        return loss.detach()

    def _end_episode(self) -> None:
        rewards = torch.tensor(self.state.rewards)
        advantages = self.advantage(self.state.rewards, self.state.children)
        self.best.compare(self.state.children, self.state.rewards, advantages)
        self.state.best_child = self.best.child
        self.state.metrics["noise"] = self.advantage.noise
        self.state.metrics["loss"] = float(self.update(advantages))
        self.state.metrics["reward"] = float(rewards.nanmean())
        self.state.trace.append(
            {
                "episode": self.state.epoch,
                "reward": self.state.metrics["reward"],
                "entropy": self.state.metrics["entropy"],
                "noise": self.state.metrics["noise"],
                "probabilities": self.controller.probabilities(),
            }
        )
        if self.state.key_metric_name is None:
            self.state.key_metric_name = "reward"
        if self.state.key_metric_name == "reward" and self.state.metrics["reward"] > self.state.best_metric:
            self.state.best_metric = self.state.metrics["reward"]
            self.state.best_metric_epoch = self.state.epoch
        self.fire_event(EpisodeEvents.POLICY_UPDATED)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """All that the next episode depends on, apart from the shared weights; tensors and plain types."""
        return {
            "epoch": self.state.epoch,
            "best_metric": self.state.best_metric,
            "best_metric_epoch": self.state.best_metric_epoch,
            "trace": list(self.state.trace),
            **self.best.state_dict(),
            "controller": self.controller.state_dict(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "advantage": self.advantage.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        """Inverse of :meth:`state_dict`."""
        self.state.iteration = state["epoch"] * self.state.epoch_length  # a last episode may have been cut short
        for name in ("epoch", "best_metric", "best_metric_epoch", "trace"):
            setattr(self.state, name, state[name])
        self.best.load_state_dict(state)
        self.state.best_child = self.best.child
        self.controller.load_state_dict(state["controller"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.advantage.load_state_dict(state["advantage"])
        self.generator.set_state(state["generator"])

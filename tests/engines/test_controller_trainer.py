# SPDX-License-Identifier: Apache-2.0
"""The engine on a stand-in scorer: a table of rewards, no network."""

import math

import pytest
import torch
from ignite.engine import Events
from monai.handlers import CheckpointSaver, EarlyStopHandler, StatsHandler, TensorBoardStatsHandler, from_engine

from monai_ronas.controllers import LSTMController
from monai_ronas.engines import ControllerTrainer, EpisodeEvents
from monai_ronas.losses import ExponentialBaseline, LeaveOneOutBaseline
from monai_ronas.space import Decision, SearchSpace
from monai_ronas.utils import ChildScore

REWARD = {"x": 0.2, "y": 0.5, "z": 0.9}


class Cases:
    def __init__(self):
        self.episodes = []

    def choose(self, episode):
        self.episodes.append(episode)


class TableScorer:
    def __init__(self, failing=()):
        self.sampler = Cases()
        self.failing = failing

    def score(self, architecture):
        value = architecture["b"]
        status = "failed" if value in self.failing else "ok"
        reward = math.nan if status == "failed" else REWARD[value]
        return ChildScore(reward=reward, per_case=(reward,), seconds=0.1, peak_memory_mb=1.0, status=status)


def make_engine(*, scorer=None, episodes=3, children=8, handlers=None, lr=0.05, seed=0, baseline=None, objective=None):
    space = SearchSpace([Decision("patch", [1, 2], kind="training"), Decision("b", ["x", "y", "z"])])
    policy = LSTMController(space)
    return ControllerTrainer(
        device="cpu",
        max_epochs=episodes,
        children_per_episode=children,
        controller=policy,
        scorer=scorer or TableScorer(),
        optimizer=torch.optim.Adam(policy.parameters(), lr=lr),
        baseline=baseline,
        objective=objective,
        seed=seed,
        train_handlers=handlers,
    )


def test_iteration_is_a_child_and_epoch_an_episode():
    engine = make_engine()
    seen = []
    engine.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, lambda e: seen.append(("sampled", e.state.epoch)))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(("scored", e.state.output[0]["reward"])))
    engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, lambda e: seen.append(("updated", e.state.epoch)))
    engine.run()
    assert engine.state.iteration == 24
    assert [s for s in seen if s[0] != "scored"] == [(w, n) for n in (1, 2, 3) for w in ("sampled", "updated")]
    assert [kind for kind, _ in seen[:10]] == ["sampled", *["scored"] * 8, "updated"]
    assert engine.scorer.sampler.episodes == [1, 2, 3]
    last = [reward for kind, reward in seen if kind == "scored"][-8:]
    assert engine.state.metrics["reward"] == pytest.approx(sum(last) / 8)
    assert engine.state.best_metric == max(t["reward"] for t in engine.state.trace)


def test_the_policy_learns_the_table():
    engine = make_engine(episodes=80, children=20, lr=0.02)
    engine.run()
    assert engine.controller.probabilities()["b"][2] > 0.9
    assert engine.state.best_child["b"] == "z"


@pytest.mark.parametrize("baseline", [LeaveOneOutBaseline(), ExponentialBaseline()])
def test_training_decisions_earn_their_credit_from_training(baseline):
    engine = make_engine(episodes=60, children=20, lr=0.02, baseline=baseline)

    @engine.on(EpisodeEvents.CHILDREN_SAMPLED)
    def gain(e):
        e.state.training_gain = [0.1 if child["patch"] == 2 else 0.0 for child in e.state.children]

    engine.run()
    assert engine.controller.probabilities()["patch"][1] > 0.9
    untouched = make_engine(episodes=1)
    untouched.run()
    advantages = untouched.advantages()
    assert torch.equal(advantages[:, 0], torch.zeros(8))
    assert advantages[:, 1].abs().sum() > 0


def test_two_children_of_an_episode_get_different_credit():
    engine = make_engine(episodes=1)
    engine.run()
    rewards = torch.tensor(engine.state.rewards)
    credit = engine.advantages()[:, 1]
    assert credit[rewards.argmax()] > 0 > credit[rewards.argmin()]


def test_failed_children_are_not_rewarded():
    engine = make_engine(scorer=TableScorer(failing=("x",)), episodes=1, children=20)
    engine.run()
    failed = [i for i, child in enumerate(engine.state.children) if child["b"] == "x"]
    assert failed
    assert all(math.isnan(engine.state.rewards[i]) for i in failed)
    assert torch.equal(engine.advantages()[failed], torch.zeros(len(failed), 2))
    assert not math.isnan(engine.state.metrics["reward"])


def test_resumed_engine_goes_on_as_the_uninterrupted_one():
    whole = make_engine(episodes=4)
    whole.run()
    first = make_engine(episodes=2)
    first.run()
    second = make_engine(episodes=4, seed=99)
    second.load_state_dict(first.state_dict())
    second.run()
    assert second.state.children == whole.state.children
    assert [t["reward"] for t in second.state.trace] == [t["reward"] for t in whole.state.trace]
    for a, b in zip(second.controller.parameters(), whole.controller.parameters(), strict=True):
        assert torch.equal(a, b)


def test_finished_engine_does_not_start_over():
    engine = make_engine(episodes=2)
    engine.run()
    engine.run()
    assert engine.state.epoch == 2
    assert engine.scorer.sampler.episodes == [1, 2]


def test_monais_handlers_work_unchanged(tmp_path, capsys):
    stop = EarlyStopHandler(
        patience=2, score_function=lambda e: -e.state.epoch, trainer=None, min_delta=0.0, epoch_level=True
    )
    handlers = [
        StatsHandler(output_transform=from_engine(["reward"], first=True), tag_name="reward", name="stats"),
        TensorBoardStatsHandler(log_dir=str(tmp_path), output_transform=from_engine(["reward"], first=True)),
        stop,
    ]
    engine = make_engine(episodes=50, handlers=handlers)
    stop.set_trainer(engine)
    CheckpointSaver(
        save_dir=str(tmp_path / "saved"),
        save_dict={"policy": engine.controller, "engine": engine},
        save_interval=1,
        n_saved=2,
    ).attach(engine)
    engine.run()
    log = capsys.readouterr().out
    assert engine.state.epoch == 3  # the score falls from the start: patience 2
    assert "reward" in log
    assert "entropy" in log
    assert list(tmp_path.glob("events.*"))
    saved = sorted((tmp_path / "saved").glob("*.pt"))
    assert len(saved) == 2
    content = torch.load(saved[-1], weights_only=True)
    assert content["engine"]["epoch"] == 3
    assert set(content["policy"]) == set(engine.controller.state_dict())


def test_the_controller_learns_from_the_objective_and_the_score_stays_the_reward():
    """An objective that turns the rewards round makes the worst option the preferred one."""
    engine = make_engine(episodes=40, children=20, objective=lambda score, architecture: -score.reward)
    scores = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: scores.append(e.state.score.reward))
    engine.run()
    worst = min(REWARD, key=REWARD.get)
    options = engine.controller.space["b"].options
    assert engine.controller.probabilities()["b"][options.index(worst)] > 0.8
    assert set(scores) <= set(REWARD.values())


def test_a_search_goes_on_behind_an_episode_that_was_cut_short():
    first = make_engine(episodes=1)
    first.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, lambda e: e.keep_children(3))
    first.run()
    assert first.state.iteration == 3
    second = make_engine(episodes=3)
    second.load_state_dict(first.state_dict())
    scored = []
    second.add_event_handler(EpisodeEvents.POLICY_UPDATED, lambda e: scored.append(len(e.state.rewards)))
    second.run()
    assert scored == [8, 8]


def test_a_child_that_memory_did_not_suffice_for_is_not_scored():
    engine = make_engine(episodes=1, children=6)
    engine.scorer.cases = ["case"]
    seen = []

    def forbid(e):
        e.state.out_of_memory.add(e.state.children[2])

    engine.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, forbid)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append((e.state.architecture, e.state.score.status))
    )
    engine.run()
    lost = engine.state.children[2]
    assert [status for _, status in seen] == ["oom" if child == lost else "ok" for child, _ in seen]
    assert math.isnan(engine.state.rewards[2])
    assert math.isfinite(engine.state.metrics["reward"])
    assert engine.advantages()[2].abs().sum() == 0

# SPDX-License-Identifier: Apache-2.0
"""The engine on a stand-in scorer: a table of rewards, no network."""

import dataclasses
import math

import pytest
import torch
from ignite.engine import Events
from monai.handlers import CheckpointSaver, EarlyStopHandler, StatsHandler, TensorBoardStatsHandler, from_engine

from monai_ronas.controllers import LSTMController
from monai_ronas.engines import ControllerTrainer, EpisodeEvents
from monai_ronas.errors import SettingError
from monai_ronas.space import Decision, SearchSpace
from monai_ronas.utils import ChildScore
from tests.planted import PlantedScorer, planted_search

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


def make_engine(*, scorer=None, episodes=3, children=8, handlers=None, seed=0, objective=None, at_once=None):
    space = SearchSpace([Decision("patch", [1, 2], kind="training"), Decision("b", ["x", "y", "z"])])
    policy = LSTMController(space)
    return ControllerTrainer(
        device="cpu",
        max_epochs=episodes,
        children_per_episode=children,
        controller=policy,
        scorer=scorer or TableScorer(),
        optimizer=torch.optim.SGD(policy.parameters(), lr=1.0),
        objective=objective,
        seed=seed,
        at_once=at_once,
        train_handlers=handlers,
    )


def test_iteration_is_a_child_and_epoch_an_episode():
    engine = make_engine()
    seen, selected = [], []
    engine.add_event_handler(EpisodeEvents.CHILDREN_SAMPLED, lambda e: seen.append(("sampled", e.state.epoch)))
    engine.add_event_handler(
        EpisodeEvents.CHILD_SELECTED, lambda e: selected.append((e.state.architecture, len(e.state.rewards)))
    )
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(("scored", e.state.output[0]["reward"])))
    engine.add_event_handler(EpisodeEvents.POLICY_UPDATED, lambda e: seen.append(("updated", e.state.epoch)))
    engine.run()
    assert engine.state.iteration == 24
    assert [s for s in seen if s[0] != "scored"] == [(w, n) for n in (1, 2, 3) for w in ("sampled", "updated")]
    assert [kind for kind, _ in seen[:10]] == ["sampled", *["scored"] * 8, "updated"]
    assert selected[-8:] == [(child, n) for n, child in enumerate(engine.state.children)]  # each before its score
    assert engine.scorer.sampler.episodes == [1, 2, 3]
    last = [reward for kind, reward in seen if kind == "scored"][-8:]
    assert engine.state.metrics["reward"] == pytest.approx(sum(last) / 8)
    assert engine.state.best_metric == max(t["reward"] for t in engine.state.trace)


@pytest.mark.parametrize("at_once", [0, -1, 1.5, "two"])
def test_children_at_once_are_a_positive_number(at_once):
    with pytest.raises(SettingError, match=f"at_once must be a positive whole number, received {at_once!r}"):
        make_engine(at_once=at_once)


def test_children_of_a_round_have_their_turns_before_any_of_them_is_told():
    engine = make_engine(episodes=1, children=5, at_once=2)
    seen = []
    for event in EpisodeEvents:
        engine.add_event_handler(event, lambda e, event=event: seen.append(event.value))
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.children.index(e.state.architecture))
    )
    engine.run()
    turn = "child_selected"
    children = [engine.state.children.index(child) for child in engine.state.children]
    rounds = [
        ["round_started", *[turn] * len(part), "round_completed", *part]
        for part in (children[:2], children[2:4], children[4:])
    ]
    assert seen == ["children_sampled", *rounds[0], *rounds[1], *rounds[2], "policy_updated"]
    assert engine.state.rewards == [REWARD[child["b"]] for child in engine.state.children]


def test_the_policy_learns_the_table():
    engine = make_engine(episodes=80, children=20)
    engine.run()
    assert engine.controller.probabilities()["b"][2] > 0.9
    assert engine.state.best_child["b"] == "z"


@pytest.mark.parametrize("trend", [0.0, 0.05])
def test_the_planted_architecture_gets_nearly_all_of_the_probability(trend):
    """With a trend, too, by which the last child of an episode beats the first whatever they are."""
    scorer = PlantedScorer(trend=trend)
    engine = planted_search(scorer, episodes=40)
    best = torch.tensor([engine.controller.space.encode(scorer.best)])
    assert float(engine.controller.evaluate(best)[0].sum().exp().detach()) > 0.9
    assert engine.state.best_child == scorer.best


@pytest.mark.parametrize("seed", range(4))
def test_noise_does_not_make_the_policy_confident(seed):
    engine = planted_search(PlantedScorer(seed=seed, signal=False, noise=1.0), episodes=20, seed=seed)
    entropy = [t["entropy"] for t in engine.state.trace]
    assert entropy[-1] > 0.8 * entropy[0]


def test_a_signal_as_large_as_the_noise_is_learnt_more_slowly():
    """Probability of the planted option per decision, and what the children are worth, after the same episodes."""

    def learnt(noise, episodes):
        found = []
        for seed in range(3):
            scorer = PlantedScorer(seed=seed, noise=noise)
            engine = planted_search(scorer, episodes=episodes, seed=seed)
            found.append(sum(map(scorer.above_random, engine.state.children)) / len(engine.state.children))
        return sum(found) / len(found)

    assert learnt(0.0, 12) > learnt(1.0, 12) + 0.5
    assert learnt(1.0, 40) > 2.0


def test_all_decisions_have_the_same_credit_and_one_child_occurs_twice():
    """What the patch changes counts for the patch, by the one reward there is."""
    engine = make_engine(episodes=60, children=20)
    score = engine.scorer.score
    seen = []

    def better_with_the_large_patch(architecture):
        found = score(architecture)
        return dataclasses.replace(found, reward=found.reward + 0.3 * (architecture["patch"] == 2))

    engine.scorer.score = better_with_the_large_patch
    engine.add_event_handler(
        EpisodeEvents.CHILDREN_SAMPLED, lambda e: seen.append(len(e.state.indices.unique(dim=0)) < 20)
    )
    engine.run()
    assert engine.controller.probabilities()["patch"][1] > 0.9
    assert engine.controller.probabilities()["b"][2] > 0.9
    assert all(seen)


def test_the_copy_is_elsewhere_in_each_episode():
    found = set()

    def look(e):
        rows = [tuple(row) for row in e.state.indices.tolist()]
        places = [n for n, row in enumerate(rows) if rows.count(row) > 1]
        assert len(places) >= 2
        found.add(tuple(places))

    planted_search(PlantedScorer(signal=False, noise=1.0), episodes=8, strategy="random", watch=look)
    assert len(found) > 4


def test_failed_children_are_not_rewarded():
    engine = make_engine(scorer=TableScorer(failing=("x",)), episodes=1, children=20)
    engine.run()
    failed = [i for i, child in enumerate(engine.state.children) if child["b"] == "x"]
    assert failed
    assert all(math.isnan(engine.state.rewards[i]) for i in failed)
    advantages = engine.advantage(engine.state.rewards, engine.state.children)
    assert all(advantages[i] == 0 for i in failed)
    assert abs(advantages).sum() > 0
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
    assert (second.advantage.noise, second.advantage.weight) == (whole.advantage.noise, whole.advantage.weight)
    assert second.advantage.weight > 22  # four copies
    assert second.best.state_dict() == whole.best.state_dict()
    assert second.state.best_child == second.best.child == whole.best.child
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


def test_a_search_goes_on_after_an_episode_that_was_cut_short():
    first = make_engine(episodes=1)
    first.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda e: e.end_episode())
    first.run()
    assert first.state.iteration == 3
    assert len(first.state.children) == len(first.state.indices) == len(first.state.masks[0]) == 3
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
        e.state.out_of_memory = len(e.state.rewards) == 2

    engine.add_event_handler(EpisodeEvents.CHILD_SELECTED, forbid)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.score.status))
    engine.run()
    assert seen == ["ok", "ok", "oom", "ok", "ok", "ok"]
    assert math.isnan(engine.state.rewards[2])
    assert math.isfinite(engine.state.metrics["reward"])
    assert engine.advantage(engine.state.rewards, engine.state.children)[2] == 0

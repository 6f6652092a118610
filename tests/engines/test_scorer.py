# SPDX-License-Identifier: Apache-2.0
import math
import os
import time

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.transforms import AsDiscreted, Compose
from torch.utils.data import DataLoader

from monai_ronas.engines import ChildScorer, EpisodeSampler
from monai_ronas.errors import SettingError
from monai_ronas.metrics import OwnMeanDice, SoftDiced
from monai_ronas.utils import RankError, TimeBudget
from monai_ronas.utils.ranks import apart, own_rank
from tests.ranks import in_ranks
from tests.toys import toy_cases, toy_slices


def make_scorer(metric):
    slices = toy_slices()
    cases = toy_cases(5, seed=3)
    sampler = EpisodeSampler(5, per_episode=2)
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(cases, sampler=sampler),
        network=slices.network,
        postprocessing=Compose([SoftDiced(), AsDiscreted(keys=["pred", "label"], argmax=[True, False], to_onehot=2)]),
        key_val_metric={
            "val_mean_dice": metric(include_background=False, output_transform=from_engine(["pred", "label"]))
        },
    )
    return ChildScorer(slices.network, evaluator, sampler, [f"case{i}" for i in range(5)])


@pytest.fixture
def scorer():
    return make_scorer(MeanDice)


@pytest.fixture
def shared():
    """A scorer for many processes."""
    return make_scorer(OwnMeanDice)


def test_episodes_take_turns_through_all_cases():
    sampler = EpisodeSampler(5, per_episode=2, seed=1)
    seen = []
    for episode in range(1, 6):
        sampler.choose(episode)
        assert len(list(sampler)) == len(sampler) == 2
        seen += sampler.indices
    assert sorted(seen) == sorted([*range(5)] * 2)
    sampler.choose(2)
    assert sampler.indices == seen[2:4]
    sampler.choose_all()
    assert list(sampler) == [0, 1, 2, 3, 4]
    assert EpisodeSampler(3, per_episode=9).per_episode == 3
    assert EpisodeSampler(3).per_episode == 3


def test_a_score_is_the_mean_dice_of_the_chosen_cases(scorer):
    base = scorer.network.space.base
    scorer.sampler.choose(1)
    score = scorer.score(base)
    assert scorer.network.architecture == base
    assert len(score.per_case) == 2
    assert score.reward == pytest.approx(sum(score.per_case) / 2)
    assert score.status == "ok"
    assert score.seconds > 0
    assert score.peak_memory_mb > 0
    expected = []
    scorer.network.eval()
    for index in scorer.sampler.indices:
        case = scorer.evaluator.data_loader.dataset[index]
        with torch.no_grad():
            pred = scorer.network(case["image"][None]).argmax(dim=1)[0]
        label = case["label"][0]
        expected.append(float(2 * (pred * label).sum() / (pred.sum() + label.sum())))
    assert score.per_case == pytest.approx(expected)
    assert scorer.cases == [f"case{i}" for i in scorer.sampler.indices]


def test_the_same_weights_score_the_same_again_on_more_cases(scorer):
    base = scorer.network.space.base
    scorer.sampler.choose_all()
    whole = scorer.score(base)
    assert len(whole.per_case) == 5
    scorer.sampler.choose(1)
    few = scorer.score(base)
    assert few.per_case == tuple(whole.per_case[i] for i in scorer.sampler.indices)
    assert scorer.evaluator.state.iteration == 2


def test_what_a_case_does_not_have_is_left_out(scorer):
    scorer.evaluator.data_loader.dataset[1]["label"].zero_()
    scorer.sampler.choose_all()
    score = scorer.score(scorer.network.space.base)
    assert math.isnan(score.per_case[1])
    assert score.reward == pytest.approx(sum(score.per_case[i] for i in (0, 2, 3, 4)) / 4)
    assert score.status == "ok"


def test_a_score_that_is_no_number_is_a_failure(scorer):
    scorer.evaluator.add_event_handler(
        Events.COMPLETED, lambda e: e.state.metric_details["val_mean_dice"].fill_(float("nan"))
    )
    assert scorer.score(scorer.network.space.base).status == "failed"


def test_want_of_memory_is_recorded_and_no_reward(scorer):
    base = scorer.network.space.base
    scorer.sampler.choose(1)
    before = scorer.score(base)

    def fail(module, inputs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    hook = scorer.network.register_forward_pre_hook(fail)
    score = scorer.score(base)
    assert score.status == "oom"
    assert math.isnan(score.reward)
    assert len(score.per_case) == 2
    hook.remove()
    passes = []
    scorer.network.register_forward_hook(lambda *args: passes.append(1))
    with torch.no_grad():
        for weight in scorer.network.heads[0].parameters():
            weight.neg_()
    scorer.sampler.choose(2)
    after = scorer.score(base)
    assert len(passes) == 2
    assert after.status == "ok"
    assert after.per_case != before.per_case


def test_soft_dice_is_told_of_each_case(scorer):
    base = scorer.network.space.base
    scorer.evaluator.data_loader.dataset[1]["label"].zero_()
    scorer.sampler.choose_all()
    for _ in range(2):  # and no case twice
        score = scorer.score(base)
        assert len(score.soft) == 5
    scorer.network.eval()
    for index in (0, 4):
        case = scorer.evaluator.data_loader.dataset[index]
        with torch.no_grad():
            p = scorer.network(case["image"][None])[0].softmax(dim=0)[1]
        y = case["label"][0]
        assert score.soft[index] == pytest.approx(float(2 * (p * y).sum() / (p.sum() + y.sum())), abs=1e-5)
    assert math.isnan(score.soft[1])
    assert math.isnan(score.per_case[1])


@pytest.mark.parametrize(("left", "number"), [(0.0, 1), (6.9, 3), (9.9, 4), (10.0, 5), (1e9, 5)])
def test_as_many_cases_are_scored_as_the_time_allows_in_a_fixed_order(scorer, left, number):
    """Cases take 1, 1, 3, 2 and 3 s: none is begun for which what is left is less than the longest so far."""
    base, times, now = scorer.network.space.base, iter([1.0, 1.0, 3.0, 2.0, 3.0]), [0.0]
    whole = dict(zip(scorer.case_names, scorer.score(base).per_case, strict=True))

    def spend():
        now[0] += next(times)

    with scorer.evaluator.add_event_handler(Events.ITERATION_STARTED, spend):
        score = scorer.score_in_time(base, lambda: left - now[0])
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0)).tolist()
    assert scorer.cases == [f"case{n}" for n in order[:number]]
    assert score.per_case == tuple(whole[name] for name in scorer.cases)
    assert score.reward == pytest.approx(sum(score.per_case) / number)
    assert score.status == "ok"
    assert scorer._agreed  # or a process that lacks memory from now on would wait for the others
    scorer.sampler.choose_all()
    assert scorer.score(base).per_case == tuple(whole.values())


@pytest.mark.parametrize("cases", [5, 1])
def test_processes_give_the_rewards_of_a_single_one(scorer, shared, tmp_path, cases):
    space = scorer.network.space
    children = [space.base, space.largest]

    def rewards(scorer=shared):
        scorer.sampler.indices = list(range(cases))
        scores = [scorer.score(child) for child in children]
        return [(score.reward, score.per_case, score.soft, score.seconds, score.status) for score in scores]

    alone = rewards(scorer)
    first, second = in_ranks(rewards, tmp_path)
    assert first == second
    assert [score[:3] for score in first] == [score[:3] for score in alone]
    assert len(first[0][1]) == len(first[0][2]) == cases


def test_a_metric_that_gathers_by_itself_is_refused(scorer, tmp_path):
    def refused():
        with pytest.raises(SettingError, match=r"the key metric has 5 cases where \d were scored: .*OwnMeanDice"):
            scorer.score(scorer.network.space.base)

    in_ranks(refused, tmp_path)


def test_a_process_that_ends_is_told_by_those_that_wait_for_its_cases(shared, tmp_path):
    def score():
        if own_rank() == 1:
            torch.save("gone", tmp_path / "1.pt")
            shared.network.forward = lambda image: os._exit(0)
        with pytest.raises(RankError, match="another process of this run has ended"):
            shared.score(shared.network.space.base)
        return "told"

    assert in_ranks(score, tmp_path) == ["told", "gone"]


def test_a_process_that_ends_is_noticed_by_one_that_scores_apart(shared, tmp_path):
    def score_for_ever():
        if own_rank() == 1:
            torch.save("gone", tmp_path / "1.pt")
            shared.network.forward = lambda image: os._exit(0)
        with apart(every_seconds=0.0):
            while True:
                shared.score(shared.network.space.base)

    def told():
        with pytest.raises(RankError, match="another process of this run has ended"):
            score_for_ever()
        return "told"

    assert in_ranks(told, tmp_path) == ["told", "gone"]


def test_a_lack_of_memory_in_one_process_is_one_of_all(shared, tmp_path):
    scorer = shared
    base, scorer.network.forward = scorer.network.space.base, NoMemory(scorer.network.forward)
    scorer.sampler.choose_all()

    def scores():
        broken = scorer.score(base)
        whole = scorer.score(base)
        return (broken.status, len(broken.per_case)), (whole.status, whole.per_case)

    first, second = in_ranks(scores, tmp_path)
    assert first == second
    assert first[0] == ("oom", 5)
    assert first[1][0] == "ok"


def test_the_slowest_process_decides_how_many_cases_there_is_time_for(shared, tmp_path):
    scorer = shared
    base, forward = scorer.network.space.base, scorer.network.forward

    def slow(image):
        time.sleep(1.0 * own_rank())
        return forward(image)

    scorer.network.forward = slow

    def number():
        budget = TimeBudget(1.0)
        begin = budget.elapsed()
        return len(scorer.score_in_time(base, lambda: 0.9 - (budget.elapsed() - begin)).per_case)

    assert in_ranks(number, tmp_path) == [2, 2]


class NoMemory:
    """For the second volume of rank 1, once."""

    def __init__(self, forward):
        self.forward = forward
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        if self.calls == 2 and own_rank() == 1:
            raise MemoryError
        return self.forward(image)

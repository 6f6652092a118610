# SPDX-License-Identifier: Apache-2.0
"""One shot or windows, on an evaluator of toy cases whose network does better in one of the two."""

import logging
import math

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.transforms import AsDiscreted
from torch.utils.data import DataLoader

from monai_ronas.engines import ChildScorer, EpisodeSampler, InferenceMode
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.utils import ChildScore, InferenceChoice
from tests.toys import toy_cases, toy_space

PATCH = (16, 16, 8)


class Fake(torch.nn.Module):
    """Segments by the image, but a part of the given size is wrong in the inputs of a given size."""

    def __init__(self, space, wrong=lambda size: 0):
        super().__init__()
        self.space, self.wrong, self.sizes, self.memory = space, wrong, [], 10**9
        self.divisor = (1, 1, 1)

    @property
    def patch(self):
        return self.space.patch(self.architecture)

    def select(self, architecture):
        self.architecture = architecture

    def forward(self, x):
        size = tuple(x.shape[2:])
        self.sizes.append(size)
        if x[0, 0].numel() > self.memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        bright = x > 0.5
        bright[:, :, : self.wrong(size)] = False
        return torch.cat([~bright, bright], dim=1).float()


def make_scorer(*, shapes=((20, 16, 8),) * 4, wrong=lambda size: 0, max_voxels=None, one_shot_voxels=None):
    cases = [toy_cases(1, shape, seed=n)[0] for n, shape in enumerate(shapes)]
    sampler = EpisodeSampler(len(cases), per_episode=len(cases))
    network = Fake(toy_space(), wrong)
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(cases, sampler=sampler),
        network=network,
        inferer=PadToStrideInferer(max_voxels=max_voxels),
        postprocessing=AsDiscreted(keys=["pred", "label"], argmax=[True, False], to_onehot=2),
        key_val_metric={
            "val_mean_dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
        },
    )
    names = [f"case{n}" for n in range(len(cases))]
    return ChildScorer(network, evaluator, sampler, names, one_shot_voxels=one_shot_voxels)


def test_after_windows_each_architecture_has_its_own_limit_again():
    space = toy_space()
    limits = {space.base: 500, space.largest: 700}
    scorer = make_scorer(one_shot_voxels=limits.__getitem__)
    assert space.base != space.largest
    scorer.select(space.base)
    assert scorer.evaluator.inferer.max_voxels == 500
    with scorer.in_windows(0.0):
        scorer.select(space.largest)
    scorer.select(space.largest)
    assert scorer.evaluator.inferer.max_voxels == 700


def wrong_in_one_shot(planes):
    return lambda size: planes if size != PATCH else 0


def test_windows_are_chosen_where_one_shot_loses_dice(caplog):
    scorer, tester = make_scorer(wrong=wrong_in_one_shot(6)), make_scorer(max_voxels=10**6)
    base = scorer.network.space.base
    assert scorer.network.space.patch(base) == PATCH
    scorer.sampler.indices = [2]
    with caplog.at_level(logging.INFO):
        choice = InferenceMode(scorer, tester=tester)(base)
    assert choice.windows
    assert choice.cases == ("case0", "case1", "case2", "case3")
    assert choice.one_shot == pytest.approx([2 * 6 / (6 + 8)] * 4)  # two of the cube's eight planes are missing
    assert choice.in_windows == pytest.approx([1.0] * 4)
    told, asked = choice.reason.split(" One shot, ")
    assert (
        told == "Windows: mean Dice 0.8571 in one shot and 1.0000 in windows of the training patch on 4 reward cases."
    )
    assert asked.endswith("times as fast, must be ahead by more than 0.005.")
    assert f"inference: {choice.reason}" in caplog.text
    assert choice.seconds > 0
    assert scorer.evaluator.inferer.max_voxels == tester.evaluator.inferer.max_voxels == 0
    assert scorer.sampler.indices == [2]
    scorer.network.sizes.clear()
    assert scorer.score(base).reward == pytest.approx(1.0)
    assert set(scorer.network.sizes) == {PATCH}


def wrong_in_windows(planes):
    return lambda size: planes if size == PATCH else 0


def test_one_shot_stays_where_it_is_ahead():
    scorer, tester = make_scorer(wrong=wrong_in_windows(6), max_voxels=5000), make_scorer()
    choice = InferenceMode(scorer, tester=tester)(scorer.network.space.base)
    assert not choice.windows
    assert choice.reason.startswith("One shot: mean Dice 1.0000 in one shot and ")
    assert (scorer.evaluator.inferer.max_voxels, tester.evaluator.inferer.max_voxels) == (5000, None)


@pytest.mark.parametrize("windows", [False, True])
def test_its_lead_has_to_exceed_what_is_asked(windows):
    scorer = make_scorer(wrong=wrong_in_windows(6))
    base = scorer.network.space.base
    choice = InferenceMode(scorer)(base)
    lead = choice.one_shot[0] - choice.in_windows[0]
    assert lead > 0.005
    assert InferenceMode(scorer, least_lead=lead + (0.001 if windows else -0.001))(base).windows == windows


def test_windows_are_chosen_where_both_are_alike():
    scorer = make_scorer()
    choice = InferenceMode(scorer)(scorer.network.space.base)
    assert choice.one_shot == choice.in_windows == (1.0,) * 4
    assert choice.windows


def test_volumes_that_the_patch_holds_are_not_measured():
    scorer = make_scorer(shapes=[(16, 16, 8), (12, 14, 8)], wrong=wrong_in_one_shot(6))
    base = scorer.network.space.base
    mode = InferenceMode(scorer)
    choice = mode(base)
    assert scorer.network.sizes == []
    assert not choice.windows
    assert choice.reason == "One shot: the training patch holds all reward cases, as windows would."
    assert mode.estimated_seconds(base, 1.0) == 0.0


def test_cases_are_spread_and_those_that_do_not_tell_are_replaced():
    shapes = [(16, 16, 8), *[(20, 16, 8)] * 6]
    scorer = make_scorer(shapes=shapes)
    scorer.evaluator.data_loader.dataset[4]["label"].zero_()
    choice = InferenceMode(scorer, cases=3)(scorer.network.space.base)
    assert choice.cases == ("case3", "case6", "case1")
    assert choice.one_shot == choice.in_windows == (1.0, 1.0, 1.0)
    scorer.evaluator.inferer.max_voxels = None  # for which windows were chosen
    assert InferenceMode(scorer, cases=2)(scorer.network.space.base).cases == ("case6", "case1")


@pytest.mark.parametrize("learnt", [False, True])
def test_what_does_not_fit_the_memory_in_one_shot_goes_through_windows(learnt):
    scorer = make_scorer(max_voxels=None if learnt else 20 * 16 * 8 - 1)
    scorer.network.memory = 16 * 16 * 8 if learnt else 10**9
    tester = make_scorer()
    choice = InferenceMode(scorer, tester=tester)(scorer.network.space.base)
    assert choice == InferenceChoice(True, "Windows, unmeasured: one shot does not fit the memory.")
    assert tester.evaluator.inferer.max_voxels == 0


def test_cases_that_fit_decide_for_those_that_do_not():
    scorer = make_scorer(
        shapes=[(20, 16, 8), (40, 16, 8), (20, 16, 8)], wrong=wrong_in_windows(6), max_voxels=20 * 16 * 8
    )
    choice = InferenceMode(scorer)(scorer.network.space.base)
    assert choice.cases == ("case0", "case2")
    assert not choice.windows
    assert scorer.evaluator.inferer.max_voxels == 20 * 16 * 8


@pytest.mark.parametrize("shapes", [[(20, 16, 8)], [(16, 16, 8), (20, 16, 8), (12, 16, 8)]])
def test_a_single_case_does_not_tell(shapes):
    scorer = make_scorer(shapes=shapes, wrong=wrong_in_one_shot(6))
    choice = InferenceMode(scorer)(scorer.network.space.base)
    told = "Windows, unmeasured: only one reward case is larger than the training patch, which does not tell."
    assert choice == InferenceChoice(True, told)
    assert scorer.network.sizes == []  # no time is kept for it


@pytest.mark.parametrize("number", [0, 1])
def test_nor_does_a_single_one_that_has_a_score(number):
    scorer = make_scorer(shapes=[(20, 16, 8)] * 2, wrong=wrong_in_windows(6))
    for case in range(2 - number):
        scorer.evaluator.data_loader.dataset[case]["label"].zero_()
    choice = InferenceMode(scorer)(scorer.network.space.base)
    told = f"only {number} of the 2 reward cases that were tried has a score, which does not tell."
    assert choice == InferenceChoice(True, f"Windows, unmeasured: {told}")


def test_cases_without_a_score_take_their_time_too(monkeypatch):
    scorer = make_scorer(shapes=[(20, 16, 8)] * 6)
    for case in scorer.evaluator.data_loader.dataset:
        case["label"].zero_()
    slow(scorer, monkeypatch, one_shot=1.0, windows=3.0)
    scored = scorer.network.sizes
    choice = InferenceMode(scorer, seconds=9.0)(scorer.network.space.base)
    assert "only 0 of the 2 reward cases that were tried has a score" in choice.reason
    assert scored.count((20, 16, 8)) == 2  # in one shot; a third pair would end after 12 s


def test_cases_that_do_not_fit_take_their_time_too(monkeypatch):
    scorer = make_scorer(shapes=[(size, 16, 8) for size in (40, 36, 32, 28, 24, 20)])  # each limit allows the next
    scorer.network.memory = 16 * 16 * 8
    slow(scorer, monkeypatch, one_shot=4.0, windows=4.0)
    choice = InferenceMode(scorer, seconds=11.0)(scorer.network.space.base)
    assert choice == InferenceChoice(True, "Windows, unmeasured: one shot does not fit the memory.")
    tried = [size for size in scorer.network.sizes if size != PATCH]
    assert len(tried) == 2  # a third would end after 12 s


def slow(scorer, monkeypatch, *, one_shot, windows):
    """Let a score take the given seconds."""
    score = scorer.score

    def timed(architecture):
        given = score(architecture)
        seconds = windows if scorer.evaluator.inferer.max_voxels == 0 else one_shot
        return ChildScore(given.reward, given.per_case, seconds, given.peak_memory_mb, given.status)

    monkeypatch.setattr(scorer, "score", timed)


@pytest.mark.parametrize(("seconds", "number"), [(None, 4), (16.0, 4), (15.0, 3), (5.3, 2), (5.1, 0)])
def test_as_many_cases_as_the_time_allows_and_two_at_least(monkeypatch, seconds, number):
    scorer = make_scorer()
    slow(scorer, monkeypatch, one_shot=1.0, windows=3.0)
    choice = InferenceMode(scorer, seconds=seconds)(scorer.network.space.base)
    assert len(choice.cases) == number
    assert choice.windows
    if number:
        assert choice.seconds == 3.0
        assert "One shot, 3.0 times as fast," in choice.reason
    else:
        assert choice.seconds == pytest.approx(1.6)  # by the voxels
        assert choice.reason == "Windows, unmeasured: there is no time to compare them with one shot."


@pytest.mark.parametrize(("seconds", "kept"), [(None, 10.4), (8.0, 8.0), (5.0, 1.0)])
def test_the_time_is_estimated_by_that_of_a_score(seconds, kept):
    scorer = make_scorer()  # 20 planes in two windows of 16: 1.6 times the voxels
    base = scorer.network.space.base
    mode = InferenceMode(scorer, seconds=seconds)
    assert mode.estimated_seconds(base, 1.0) == pytest.approx(kept)


def test_the_time_is_that_of_the_cases_that_are_compared():
    scorer = make_scorer(shapes=[(16, 16, 8), (20, 16, 8), (20, 16, 8), (20, 16, 8), (16, 16, 8)])
    base, mode = scorer.network.space.base, InferenceMode(scorer, cases=2)
    assert mode.estimated_seconds(base, 1.0) == pytest.approx(2 * 2.6)  # the first and the last do not tell
    assert len(mode(base).cases) == 2


@pytest.mark.parametrize("shape", [(16, 16, 8), (20, 16, 8), (37, 51, 9)])
def test_the_windows_are_counted_as_monai_makes_them(shape):
    scorer = make_scorer(shapes=[shape] * 2)
    factor = InferenceMode(scorer)._factor(scorer.network.space.base, 0)
    PadToStrideInferer(max_voxels=0, roi_size=PATCH)(torch.zeros(1, 1, *shape), scorer.network)
    padded = math.prod(map(max, shape, PATCH))
    assert factor == pytest.approx(len(scorer.network.sizes) * math.prod(PATCH) / padded)


def test_a_comparison_of_one_case_is_refused():
    with pytest.raises(ValueError, match="cases must be at least 2, received 1"):
        InferenceMode(make_scorer(), cases=1)

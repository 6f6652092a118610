# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch.utils.data import DataLoader

from monai_ronas.engines import Calibration, ReliabilityWatch
from monai_ronas.metrics import fit_temperature, reliability, sampled
from monai_ronas.networks import MemberInferer, MostLikelyd, PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from tests.ranks import in_ranks
from tests.toys import toy_cases, toy_space


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RonasSuperNet(toy_space(), 1, 2, channels=(2, 3, 4))


def member_of(network):
    return {k: v.half() for k, v in network.derive(network.space.base, deep_supervision=False).state_dict().items()}


def test_it_is_fitted_on_what_the_bundle_will_say(network):
    cases = toy_cases(3)
    member = {name: weight * 2 for name, weight in member_of(network).items()}
    inferer = PadToStrideInferer(flips=(0,))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    fit = Calibration(network, cases, inferer, seen=True)([member], windows=False)
    single = network.derive(network.space.base, deep_supervision=False).eval()
    ensemble = MemberInferer(PadToStrideInferer(flips=(0,), roi_size=network.patch), [member])
    with torch.no_grad():
        said = [ensemble(case["image"][None], single)[0] for case in cases]
    samples = [sampled(x, case["label"], most=10**6) for x, case in zip(said, cases, strict=True)]
    by_hand = fit_temperature(*zip(*samples, strict=True))
    assert fit.temperature == pytest.approx(by_hand)
    assert (fit.cases, fit.seen) == (3, True)
    assert fit.error_after != fit.error_before
    assert inferer.roi_size is None
    assert network.training
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


@pytest.mark.parametrize(("best", "seen", "taken"), [(0.8, True, 1.0), (0.8, False, 0.8), (1.3, True, 1.3)])
def test_cases_that_were_seen_do_not_make_the_bundle_surer(network, monkeypatch, caplog, best, seen, taken):
    caplog.set_level("INFO")
    monkeypatch.setattr("monai_ronas.engines.calibration.fit_temperature", lambda *samples: best)
    fit = Calibration(network, toy_cases(2), PadToStrideInferer(), seen=seen)((), windows=False)
    assert (fit.temperature, fit.seen) == (taken, seen)
    assert (fit.error_after == fit.error_before) == (taken == 1.0)
    told = "temperature 1: training has seen the reward cases, on which 0.800 would be best"
    assert (told in caplog.messages) == (taken == 1.0)


def test_windows_where_the_bundle_has_windows(network, monkeypatch):
    limits = []
    run = PadToStrideInferer.one_run
    monkeypatch.setattr(
        PadToStrideInferer, "one_run", lambda self, *args: limits.append(self.max_voxels) or run(self, *args)
    )
    calibration = Calibration(network, toy_cases(1), PadToStrideInferer())
    for windows in (True, False):
        assert calibration((), windows=windows) is not None
    assert limits == [0, None]


@pytest.mark.parametrize(("own", "windows", "limit"), [(4096, False, 700), (4096, True, 0), (0, False, 0)])
def test_one_shot_is_limited_by_the_architecture_that_was_chosen(network, monkeypatch, own, windows, limit):
    limits, asked = [], []
    run = PadToStrideInferer.one_run
    monkeypatch.setattr(
        PadToStrideInferer, "one_run", lambda self, *args: limits.append(self.max_voxels) or run(self, *args)
    )
    chosen = next(a for a in network.space.with_every_patch(network.space.base) if a != network.space.base)
    network.select(chosen)
    inferer = PadToStrideInferer(max_voxels=own)
    calibration = Calibration(
        network, toy_cases(1), inferer, one_shot_voxels=lambda architecture: asked.append(architecture) or 700
    )
    assert calibration((), windows=windows) is not None
    assert limits == [limit]
    assert asked == [chosen] * (limit > 0)
    assert inferer.max_voxels == own


def test_cases_whose_probabilities_the_memory_does_not_hold_are_left_out(network, caplog, monkeypatch):
    small, large = toy_cases(1), toy_cases(1, shape=(32, 32, 16))
    seen = []
    run = PadToStrideInferer.one_run
    monkeypatch.setattr(
        PadToStrideInferer, "one_run", lambda self, x, *args: seen.append(tuple(x.shape[2:])) or run(self, x, *args)
    )
    inferer = PadToStrideInferer(flips=(0,), result_gb=2.25 * 4 * 2 * 16 * 16 * 8 / 2**30)  # of the small one just so
    assert Calibration(network, [*large, *small], inferer)((), windows=False).cases == 1
    assert seen == [(16, 16, 8)] * 2
    assert Calibration(network, large, inferer)((), windows=False) is None
    assert "no temperature: the memory does not suffice" in caplog.text


def test_many_processes_deal_the_cases_and_fit_as_one_does(network, tmp_path):
    def fit():
        calibration = Calibration(network, toy_cases(3), PadToStrideInferer())
        return calibration((), windows=False), calibration.estimated_seconds(1.0, members=0)

    alone, seconds = fit()
    assert in_ranks(fit, tmp_path) == [(alone, 2.0)] * 2
    assert seconds == 3.0


def test_no_case_counts_twice_where_there_are_more_processes_than_cases(network, tmp_path):
    cases = toy_cases(1)

    def look():
        evaluator = SupervisedEvaluator("cpu", DataLoader(cases, batch_size=1), network=single, inferer=inferer)
        watch = ReliabilityWatch()
        with watch.on(evaluator):
            evaluator.run()
        return watch.found(2.0, cases=1)[0].count

    single, inferer = network.derive(network.space.base, deep_supervision=False).eval(), PadToStrideInferer()
    alone = look()
    assert in_ranks(look, tmp_path) == [alone] * 2


@pytest.mark.parametrize(("number", "most", "taken"), [(3, 8, 3), (20, 4, 4), (20, 1, 1)])
def test_few_cases_are_enough(network, number, most, taken):
    fit = Calibration(network, toy_cases(number), PadToStrideInferer(), cases=most)((), windows=False)
    assert fit.cases == taken


def test_the_time_is_kept_and_bounded(network):
    cases, inferer = toy_cases(4), PadToStrideInferer(flips=(0, 1))
    assert Calibration(network, cases, inferer).estimated_seconds(0.5, members=3) == 4 * 4 * 0.5
    assert Calibration(network, cases, inferer).estimated_seconds(0.5, members=7) == 4 * 8 * 0.5
    assert Calibration(network, cases, inferer, seconds=5.0).estimated_seconds(0.5, members=3) == 2 * 4 * 0.5
    assert Calibration(network, cases, inferer, seconds=1.0).estimated_seconds(0.5, members=3) == 0.0
    assert Calibration(network, cases, inferer, seconds=-1.0)((), windows=False) is None
    assert Calibration(network, cases, inferer)((), windows=False, left=0.0) is None
    assert Calibration(network, cases, inferer)((), windows=False, seconds=10.0, left=39.0) is None  # four runs a case
    assert Calibration(network, cases, inferer)((), windows=False, seconds=1.0, left=3600.0).cases == 4


@pytest.mark.parametrize(
    ("most", "left", "why"),
    [
        (8, 3600.0, "no reward case has foreground"),
        (2, 3600.0, "none of the 2 reward cases that were looked at has foreground"),
        (8, 0.5, "the time for it does not suffice for a case"),
    ],
)
def test_why_there_is_no_temperature_is_told(network, caplog, monkeypatch, most, left, why):
    monkeypatch.setattr("monai_ronas.engines.calibration.sampled", lambda *args, **kwargs: (torch.zeros(0, 2), []))
    calibration = Calibration(network, toy_cases(3), PadToStrideInferer(), cases=most)
    with caplog.at_level("INFO"):
        assert calibration((), windows=False, seconds=1.0, left=left) is None
    assert caplog.messages == [f"no temperature: {why}"]


def test_without_cases_or_memory_there_is_no_temperature(network, caplog, monkeypatch):
    assert Calibration(network, [], PadToStrideInferer())((), windows=False) is None

    def too_large(*args):
        raise MemoryError

    monkeypatch.setattr(PadToStrideInferer, "one_run", too_large)
    assert Calibration(network, toy_cases(1), PadToStrideInferer())((), windows=False) is None
    assert "no temperature: the memory does not suffice" in caplog.text


def test_what_an_evaluator_predicts_is_seen_before_it_is_made_classes(network):
    cases, single = toy_cases(2), network.derive(network.space.base, deep_supervision=False).eval()
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(cases, batch_size=1),
        network=single,
        inferer=PadToStrideInferer(),
        postprocessing=MostLikelyd("pred"),
    )
    watch = ReliabilityWatch(most=10**6)
    assert watch.found(2.0, cases=0) is None
    with watch.on(evaluator):
        evaluator.run()
    evaluator.run()
    with torch.no_grad():
        said = [single(case["image"][None])[0].log_softmax(dim=0) for case in cases]
    samples = [sampled(x, case["label"], most=10**6) for x, case in zip(said, cases, strict=True)]
    found = watch.found(2.0, cases=2)
    for got, temperature in zip(found, (1.0, 2.0), strict=True):
        by_hand = reliability(*zip(*samples, strict=True), temperature=temperature)
        assert got.count == by_hand.count
        assert got.brier == pytest.approx(by_hand.brier)
    assert found[0] != found[1]


def test_class_indices_tell_nothing(network):
    watch = ReliabilityWatch()
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(toy_cases(1), batch_size=1),
        network=network,
        inferer=lambda image, network, **kwargs: torch.zeros_like(image),
    )
    with watch.on(evaluator):
        evaluator.run()
    assert watch.found(2.0, cases=1) is None

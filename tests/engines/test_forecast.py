# SPDX-License-Identifier: Apache-2.0
"""Learning curves carried forward, and the worth of a turn."""

import math

import numpy as np
import pytest

from monai_ronas.engines.forecast import (
    Curve,
    Lead,
    Prior,
    between_cases,
    common_slope,
    cost_of_turn,
    forecast,
    lead,
    lead_in_terms_of,
    sd_after,
    value_of_turn,
)

PRIOR = Prior(slope=0.4, slope_sd=0.2, own_sd=0.1, noise=0.05, lead=-0.1, lead_sd=0.2)
TIMES = [10.0, 20.0, 40.0, 80.0]


def power_curve(level, slope, times=TIMES, cases=4, spread=0.0):
    """A curve whose mean error is ``level`` at time 100 and falls with a power of the time."""
    shifts = np.linspace(-spread, spread, cases)
    return Curve(list(times), [tuple(level * (t / 100) ** -slope * (1 + s) for s in shifts) for t in times])


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.7])
def test_the_slope_of_the_data_is_found_and_drawn_to_the_prior(slope):
    curves = [power_curve(level, slope, times=[1.0, 10.0, 100.0, 1000.0]) for level in (0.1, 0.2, 0.3)]
    found = common_slope(curves, PRIOR)
    assert min(slope, 0.4) - 1e-9 <= found <= max(slope, 0.4) + 1e-9
    assert abs(found - slope) < 0.15 * abs(0.4 - slope) + 1e-9
    assert common_slope([], PRIOR) == common_slope([Curve([5.0], [(0.3,)])], PRIOR) == pytest.approx(0.4)


def test_a_curve_of_the_expected_slope_is_carried_forward_along_it():
    value, sd = forecast(power_curve(0.2, 0.4), 1000.0, 0.4, PRIOR)
    assert math.exp(value) == pytest.approx(0.2 * 10**-0.4)
    assert 0 < sd < PRIOR.own_sd * math.log(100) + PRIOR.noise


def test_more_measurements_and_a_nearer_end_make_a_forecast_surer():
    sds = [forecast(power_curve(0.2, 0.4, times=TIMES[:n]), 1000.0, 0.4, PRIOR)[1] for n in (1, 2, 3, 4)]
    assert sds == sorted(sds, reverse=True)
    assert forecast(power_curve(0.2, 0.4), 100.0, 0.4, PRIOR)[1] < sds[-1]


def test_the_lead_is_the_difference_of_the_forecasts_drawn_to_the_prior():
    better, worse = power_curve(0.1, 0.4), power_curve(0.2, 0.4)
    found = lead(better, worse, (100.0, 100.0), 0.4, PRIOR)
    assert 0.4 < found.mean < math.log(2)
    back = lead(worse, better, (100.0, 100.0), 0.4, PRIOR)
    assert back.mean < -0.4
    assert found.sd == back.sd < PRIOR.lead_sd


def test_without_a_measurement_the_lead_is_the_prior():
    assert lead(Curve(), power_curve(0.2, 0.4), (100.0, 100.0), 0.4, PRIOR) == Lead(-0.1, 0.2)


def test_one_that_begins_later_ends_with_less_training():
    found = lead(Curve(), power_curve(0.2, 0.4), (100.0, 120.0), 0.4, PRIOR)
    assert found.mean == pytest.approx(-0.1 - 0.4 * math.log(1.2))
    assert found.sd == 0.2


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.02])
def test_a_factor_of_the_dice_is_a_lead_of_the_error(ratio):
    """The leader has a Dice of 0.8, the challenger one of 0.78."""
    found = lead_in_terms_of(ratio, Lead(math.log(0.2 / 0.22), 0.3), 0.2)
    assert 1 - 0.2 * math.exp(-found.mean) == pytest.approx(0.78 * ratio)
    assert found.sd == 0.3


def test_the_larger_a_factor_the_larger_the_lead_also_where_no_error_is_left():
    leads = [lead_in_terms_of(1 + n / 100, Lead(-0.1, 0.2), 0.05).mean for n in range(100)]
    steps = np.diff(leads)
    assert (steps > 0).all()
    assert steps.max() < 3.0  # no jump to where errors are negative
    assert lead_in_terms_of(1.1, Lead(-9.0, 0.2), 0.05).mean == pytest.approx(math.log(0.05))  # an error of 1 at most


def test_curves_are_compared_at_the_times_that_both_have():
    challenger = power_curve(0.2, 0.4, times=TIMES[:2])
    leader = power_curve(0.2, 0.4, times=TIMES[:2])
    before = lead(challenger, leader, (100.0, 100.0), 0.4, PRIOR)
    leader.add(40.0, (1e-3,) * 4)
    assert lead(challenger, leader, (100.0, 100.0), 0.4, PRIOR) == before


def test_a_curve_that_falls_faster_is_expected_to_overtake():
    slow, fast = power_curve(0.10, 0.1), power_curve(0.11, 0.9)
    assert lead(fast, slow, (80.0, 80.0), 0.5, PRIOR).mean < 0
    assert lead(fast, slow, (8000.0, 8000.0), 0.5, PRIOR).mean > 0


def test_cases_that_disagree_make_a_lead_unsure():
    sure, unsure = power_curve(0.2, 0.4), power_curve(0.2, 0.4, spread=0.9)
    other = power_curve(0.25, 0.4)
    assert between_cases(sure, other) == pytest.approx(0.0)
    assert between_cases(unsure, other) > 0.1
    assert lead(unsure, other, (100.0, 100.0), 0.4, PRIOR).sd > lead(sure, other, (100.0, 100.0), 0.4, PRIOR).sd
    assert between_cases(power_curve(0.2, 0.4, cases=1), power_curve(0.1, 0.4, cases=1)) == 1.0


def test_cases_without_a_class_are_left_out():
    a, b = Curve([1.0], [(0.2, math.nan, 0.4)]), Curve([1.0], [(0.3, 0.9, 0.5)])
    assert between_cases(a, b) == pytest.approx(0.0)
    assert a.means == pytest.approx([0.3])


def test_the_value_of_a_turn_is_that_of_the_better_one_after_it():
    generator = np.random.default_rng(0)
    for mean, sd, after in ((0.0, 0.2, 0.05), (-0.1, 0.2, 0.1), (0.15, 0.1, 0.05)):
        change = math.sqrt(sd**2 - after**2)
        drawn = mean + change * generator.standard_normal(400_000)
        expected = np.maximum(drawn, 0).mean() - max(mean, 0)
        assert value_of_turn(Lead(mean, sd), after) == pytest.approx(expected, abs=2e-3)
    assert value_of_turn(Lead(-0.1, 0.2), 0.2) == 0.0


def test_a_turn_tells_more_the_later_it_ends():
    leader = power_curve(0.2, 0.4, times=[10.0])
    ends = (1000.0, 1000.0)
    sds = [sd_after(Curve(), leader, TIMES[:n], ends, 0.4, PRIOR) for n in (1, 2, 3, 4)]
    assert sds == sorted(sds, reverse=True)
    assert sds[0] < PRIOR.lead_sd


def test_a_turn_costs_what_the_error_falls_in_its_time():
    assert cost_of_turn(0.4, 10.0, 100.0) == pytest.approx(math.log(90**-0.4) - math.log(100**-0.4))
    assert cost_of_turn(0.4, 0.0, 100.0) == 0.0
    assert math.isfinite(cost_of_turn(0.4, 200.0, 100.0))

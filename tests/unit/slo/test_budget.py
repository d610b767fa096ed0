import pytest

from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.slo.budget import burn_rate, judge

OBJECTIVE = Objective(Indicator.LATENCY, 0.99, 28 * 86400, IndicatorSource.GATEWAY, 0.1)
NOTHING = Counts()


def judged(window: Counts, burn_5m: Counts = NOTHING) -> Judgement:
    return judge("bert", OBJECTIVE, window, burn_5m=burn_5m, burn_1h=NOTHING, burn_6h=NOTHING)


def test_without_events_nothing_is_claimed() -> None:
    judgement = judged(Counts(measured_s=100, expected_s=100))
    assert (judgement.attainment_low, judgement.attainment_high, judgement.budget_left) == (None, None, None)
    assert (judgement.burn_5m, judgement.burn_1h, judgement.burn_6h) == (None, None, None)


def test_half_of_the_allowed_bad_events_leave_half_of_the_budget() -> None:
    judgement = judged(Counts(good=995, bad=5))
    assert judgement.attainment_low == judgement.attainment_high == 0.995
    assert judgement.budget_left == pytest.approx(0.5)


def test_an_overspent_budget_is_negative() -> None:
    assert judged(Counts(good=970, bad=30)).budget_left == pytest.approx(-2.0)


def test_unsure_events_open_the_bounds_and_count_against_the_budget() -> None:
    judgement = judged(Counts(good=980, bad=10, unsure=10))
    assert (judgement.attainment_low, judgement.attainment_high) == (0.98, 0.99)
    assert judgement.budget_left == pytest.approx(-1.0)


def test_burn_rate_is_the_multiple_of_the_speed_that_lasts_the_window() -> None:
    assert judged(Counts(good=100), burn_5m=Counts(good=90, bad=10)).burn_5m == pytest.approx(10.0)
    assert burn_rate(OBJECTIVE, Counts(good=99, bad=1)) == pytest.approx(1.0)
    assert burn_rate(OBJECTIVE, Counts(good=1)) == 0.0


def test_time_in_which_nothing_ran_that_could_measure_is_not_covered() -> None:
    day_s = 86400.0
    assert judged(Counts(good=1, measured_s=7 * day_s, expected_s=7 * day_s)).window.coverage == pytest.approx(0.25)
    assert judged(Counts(good=1, measured_s=14 * day_s, expected_s=28 * day_s)).window.coverage == pytest.approx(0.5)
    assert judged(NOTHING).window.coverage == 0.0

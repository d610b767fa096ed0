from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from controlplane.domain.objectives import Calendar, Counts, Indicator, IndicatorSource, Judgement, Objective, Period
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


# calendar windows

BERLIN = Calendar(Period.MONTH, ZoneInfo("Europe/Berlin"))
MONTHLY = Objective(Indicator.AVAILABILITY, 0.99, 30 * 86400.0, IndicatorSource.SERVER, calendar=BERLIN)


def in_november(day: float) -> float:
    return datetime(2026, 11, 1, tzinfo=BERLIN.zone).timestamp() + (day - 1.0) * 86400.0


def test_of_a_month_only_what_has_passed_was_to_be_measured() -> None:
    counts = Counts(good=990, bad=5, unsure=5, measured_s=5 * 86400.0, expected_s=5 * 86400.0)
    found = judge("m", MONTHLY, counts, burn_5m=counts, burn_1h=counts, burn_6h=counts, now=in_november(11.0))
    assert found.window.coverage == pytest.approx(0.5)
    assert found.budget_left == pytest.approx(0.0), "of what its events so far allow"


def test_a_budget_is_spent_when_that_of_the_whole_month_is_and_not_after_its_end() -> None:
    spent_half = Counts(good=995, bad=5, measured_s=1.0, expected_s=1.0)
    fast, slow = Counts(good=90, bad=10), Counts(good=985, bad=15)
    found = judge("m", MONTHLY, spent_half, burn_5m=fast, burn_1h=fast, burn_6h=slow, now=in_november(16.0))
    # at half the month half of half is spent; ten times the pace takes 30 d * 0.75 / 10
    assert found.exhausted_1h_s == pytest.approx(0.75 * 30 * 86400.0 / 10.0)
    assert found.exhausted_6h_s is None, "at 1.5 it would take 15 days, and the month ends first"


def test_excluded_time_was_not_to_be_measured() -> None:
    counts = Counts(good=10, measured_s=86400.0, expected_s=86400.0)
    found = judge(
        "m", MONTHLY, counts, burn_5m=counts, burn_1h=counts, burn_6h=counts, now=in_november(3.0), excluded_s=43200.0
    )
    assert found.window.coverage == pytest.approx(1.0 / 1.5)

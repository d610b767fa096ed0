from __future__ import annotations

from itertools import pairwise

import pytest

from controlplane.domain.alerts import Severity
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.slo.burn import MOST_BAD, certain_burn, factors, wilson_low

DAY_S = 86400.0


def objective(target: float, window_s: float = 28 * DAY_S) -> Objective:
    return Objective(Indicator.AVAILABILITY, target, window_s, IndicatorSource.SERVER)


def test_the_factors_of_four_weeks_are_the_workbooks() -> None:
    found = {(f.window.severity, f.window.long_s): f.factor for f in factors(objective(0.999))}
    assert found == pytest.approx(
        {
            (Severity.PAGE, 3600.0): 13.44,
            (Severity.PAGE, 21600.0): 5.6,
            (Severity.TICKET, 86400.0): 2.8,
            (Severity.TICKET, 259200.0): 1.0,  # 0.93 by the workbook: slower than the budget is given
        }
    )


def test_a_page_that_could_never_fire_is_lowered_to_a_burn_that_can_be() -> None:
    fast, slow, *_ = factors(objective(0.9, 30 * DAY_S))
    assert fast.workbook == pytest.approx(14.4)
    assert fast.factor == pytest.approx(MOST_BAD / 0.1)
    assert (fast.repaired, slow.repaired) == (True, False)
    everything_bad = certain_burn(objective(0.9), Counts(bad=10))
    assert everything_bad is not None
    assert everything_bad > fast.factor


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.93, 0.95, 0.99, 0.9999])
@pytest.mark.parametrize("window_s", [3600.0, DAY_S, 7 * DAY_S, 28 * DAY_S, 90 * DAY_S])
def test_every_severity_has_a_window_that_can_fire_within_the_objectives_own(target: float, window_s: float) -> None:
    found = factors(objective(target, window_s))
    assert {f.window.severity for f in found} == {Severity.PAGE, Severity.TICKET}
    for factor in found:
        assert factor.factor * (1 - target) < 1
        assert factor.window.short_s <= factor.window.long_s <= window_s / 4


@pytest.mark.parametrize("window_s", [3600.0, DAY_S, 28 * DAY_S])
def test_no_short_window_is_shorter_than_it_takes_to_be_told_of_it_or_longer_than_its_long_one(window_s: float) -> None:
    for grace_s in (10.0, 80.0, 317.0, 3000.0):
        for usual, found in zip(
            factors(objective(0.99, window_s)), factors(objective(0.99, window_s), grace_s=grace_s), strict=True
        ):
            assert found.window.short_s == min(found.window.long_s, max(usual.window.short_s, grace_s))
            assert (found.factor, found.window.long_s) == (usual.factor, usual.window.long_s)


def test_few_events_speak_for_little() -> None:
    assert wilson_low(1, 30) == pytest.approx(0.0075, abs=2e-4)
    assert wilson_low(3, 30) == pytest.approx(0.041, abs=1e-3)
    assert wilson_low(5, 300) == pytest.approx(0.0081, abs=2e-4)
    assert wilson_low(0, 0) == 0.0
    assert wilson_low(0, 1000) == 0.0


def test_more_events_of_the_same_share_speak_for_more() -> None:
    lows = [wilson_low(n // 10, n) for n in (10, 100, 1000, 10_000, 100_000)]
    assert all(less < more for less, more in pairwise(lows))
    assert lows[-1] < 0.1


def test_events_that_nobody_can_tell_good_from_bad_do_not_burn_for_certain() -> None:
    assert certain_burn(objective(0.99), Counts(good=90, bad=1, unsure=9)) == pytest.approx(1.0)
    assert certain_burn(objective(0.99), Counts()) is None

from __future__ import annotations

from collections.abc import Callable

import pytest

from controlplane.domain.alerts import AlertState, BurnAlert, Severity
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.slo.alerts import AlertPolicy, judge_alerts

OBJECTIVE = Objective(Indicator.AVAILABILITY, 0.99, 28 * 86400.0, IndicatorSource.SERVER)
POLICY = AlertPolicy()
States = dict[Severity, AlertState]


def always(good: int, bad: int, measured: float = 1.0) -> Callable[[float], Counts]:
    """So many events a second for as long as there is memory, of which a share was measured."""

    def ask(seconds: float) -> Counts:
        n = round(seconds)
        return Counts(good * n, bad * n, 0, measured * seconds, seconds, bad_capacity=bad * n)

    return ask


def constant(counts: Counts) -> Callable[[float], Counts]:
    def ask(seconds: float) -> Counts:
        return Counts(counts.good, counts.bad, counts.unsure, seconds, seconds, counts.bad_capacity)

    return ask


def judged(
    ask: Callable[[float], Counts], states: States | None = None, now: float = 0.0
) -> tuple[dict[Severity, BurnAlert], States]:
    alerts, after = judge_alerts("m", OBJECTIVE, ask, states or {}, POLICY, now)
    return {alert.severity: alert for alert in alerts}, after


def test_an_outage_pages_and_opens_a_ticket() -> None:
    alerts, _ = judged(always(0, 10), now=7.0)
    assert all(alert.firing and alert.since == 7.0 for alert in alerts.values())


def test_a_budget_that_is_spent_as_fast_as_it_is_given_tells_nobody() -> None:
    alerts, _ = judged(always(99, 1))
    assert not any(alert.firing for alert in alerts.values())


def test_a_slow_burn_opens_a_ticket_and_wakes_nobody() -> None:
    alerts, _ = judged(always(96, 4))
    assert (alerts[Severity.PAGE].firing, alerts[Severity.TICKET].firing) == (False, True)


def test_trouble_that_is_over_does_not_fire_though_the_long_window_remembers_it() -> None:
    def ask(seconds: float) -> Counts:
        bad = 0 if seconds <= 21600 / 12 else 5000
        return Counts(1000, bad, 0, seconds, seconds)

    alerts, _ = judged(ask)
    assert not alerts[Severity.PAGE].firing


@pytest.mark.parametrize("bad", [1, 2])
def test_a_single_failure_in_a_quiet_night_wakes_nobody(bad: int) -> None:
    alerts, _ = judged(constant(Counts(good=2, bad=bad)))
    assert not alerts[Severity.PAGE].firing
    assert "bad events" in alerts[Severity.PAGE].readings[0].held_back


def test_a_high_share_of_few_events_is_held_back_until_enough_speak_for_it() -> None:
    few, _ = judged(constant(Counts(good=17, bad=3)))
    assert few[Severity.PAGE].readings[0].held_back
    many, _ = judged(constant(Counts(good=1700, bad=300)))
    assert not many[Severity.PAGE].readings[0].held_back


def test_events_that_nobody_can_tell_good_from_bad_do_not_page() -> None:
    alerts, _ = judged(constant(Counts(good=10, unsure=1000)))
    assert not any(alert.firing for alert in alerts.values())


def test_an_alert_stays_what_it_was_while_nothing_is_measured() -> None:
    _, states = judged(always(0, 10), now=0.0)
    blind, states = judged(always(10, 0, measured=0.1), states, now=100_000.0)
    assert blind[Severity.PAGE].firing
    assert blind[Severity.PAGE].since == 0.0
    assert "10% of the newest window was measured" in blind[Severity.PAGE].frozen
    later, states = judged(always(10, 0, measured=0.2), states, now=100_060.0)
    assert [alerts[Severity.PAGE].frozen_since for alerts in (blind, later)] == [100_000.0, 100_000.0]
    seen, _ = judged(always(10, 0), states, now=100_120.0)
    assert seen[Severity.PAGE].frozen_since is None
    quiet, _ = judged(always(0, 10, measured=0.1))
    assert not quiet[Severity.PAGE].firing


def test_an_alert_ends_only_after_the_burn_stayed_well_below_its_factor() -> None:
    _, states = judged(always(0, 10), now=0.0)
    near = always(866, 134)  # 13.4 of 13.44
    alerts, states = judged(near, states, now=10.0)
    alerts, states = judged(near, states, now=500.0)
    assert alerts[Severity.PAGE].firing
    good = always(100, 0)
    alerts, states = judged(good, states, now=510.0)
    assert alerts[Severity.PAGE].firing
    alerts, states = judged(near, states, now=520.0)
    alerts, states = judged(good, states, now=530.0)
    alerts, states = judged(good, states, now=530.0 + POLICY.end_after_s - 1)
    assert alerts[Severity.PAGE].firing
    alerts, states = judged(good, states, now=530.0 + POLICY.end_after_s)
    assert not alerts[Severity.PAGE].firing
    assert states[Severity.PAGE] == AlertState()


def test_time_that_nobody_saw_does_not_count_towards_the_end_of_an_alert() -> None:
    _, states = judged(always(0, 10), now=0.0)
    good = always(100, 0)
    _, states = judged(good, states, now=10.0)
    _, states = judged(always(100, 0, measured=0.1), states, now=20.0)
    seen_again = 20.0 + POLICY.end_after_s
    alerts, states = judged(good, states, now=seen_again)
    assert alerts[Severity.PAGE].firing
    alerts, _ = judged(good, states, now=seen_again + POLICY.end_after_s)
    assert not alerts[Severity.PAGE].firing


def test_no_traffic_at_all_is_measured_and_ends_an_alert() -> None:
    _, states = judged(always(0, 10), now=0.0)
    _, states = judged(always(0, 0), states, now=10.0)
    alerts, _ = judged(always(0, 0), states, now=10.0 + POLICY.end_after_s)
    assert not any(alert.firing for alert in alerts.values())


def test_it_is_told_how_many_of_the_bad_events_capacity_explains() -> None:
    alerts, _ = judged(constant(Counts(good=10, bad=40, bad_capacity=10)))
    assert alerts[Severity.PAGE].capacity_share == pytest.approx(0.25)
    alerts, _ = judged(constant(Counts(good=10)))
    assert alerts[Severity.PAGE].capacity_share is None

"""The whole fleet judged by a real store: windows, corrections, alerts that begin, last over a restart and end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from controlplane.domain.alerts import AlertStates, Severity
from controlplane.domain.fleet import Fleet
from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.ports import Store
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.judging import Judged, Windows, judge_fleet, versions_of
from controlplane.slo.alerts import AlertPolicy
from controlplane.store import open_store
from tests.unit.loop.worlds import FLEET

DAY_S, HOUR_S = 86400.0, 3600.0
NOW = 1_700_000_040.0
GOAL = Objective(Indicator.AVAILABILITY, 0.99, 28 * DAY_S, IndicatorSource.SERVER)
JUDGED = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(GOAL,)),))
PAGE = f"a/{GOAL.key}/page"


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store("sqlite://")
    yield opened
    opened.close()


def write(store: Store, since: float, until: float, *, good: int = 100, bad: int = 0, explained: int = 0) -> None:
    """The same in every slice of [since, until)."""
    first, last = int(since // SLICE_S), int(until // SLICE_S)
    slices = tuple(
        Slice("a", GOAL.key, i * SLICE_S, good, bad, 0, SLICE_S, SLICE_S, GOAL.version, explained)
        for i in range(first, last)
    )
    store.write_tick(TickRecord(until, slices, (), (), PolicyState()))


def judged(store: Store, now: float, states: AlertStates | None = None, windows: Windows | None = None) -> Judged:
    return judge_fleet(JUDGED, store, windows or Windows(), states or {}, AlertPolicy(), now)


SHORT = replace(GOAL, window_s=HOUR_S)
QUICK = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(SHORT,)),))


def test_a_window_of_an_hour_or_more_is_at_most_a_minute_too_long_and_misses_nothing_new(store: Store) -> None:
    write(store, NOW - 2 * HOUR_S, NOW)
    windows = Windows()
    for after_s in range(0, 130, 10):
        now = NOW + after_s
        write(store, now, now + SLICE_S, good=0, bad=7)
        (judgement,) = judged(store, now + SLICE_S, windows=windows).judgements["a"]
        hour = store.counts("a", GOAL.key, windows.since(now + SLICE_S, HOUR_S, now + SLICE_S), now + SLICE_S)
        assert hour.bad == 7 * (after_s // 10 + 1)
        assert HOUR_S <= now + SLICE_S - windows.since(now + SLICE_S, HOUR_S, now + SLICE_S) < HOUR_S + 60.0
        assert judgement.burn_1h == pytest.approx(hour.bad / hour.events / 0.01)
        assert judgement.window.bad == hour.bad


def test_most_ticks_ask_few_questions_for_the_whole_fleet(store: Store) -> None:
    write(store, NOW - DAY_S, NOW)
    asked: list[tuple[float, float]] = []
    real, windows = store.all_counts, Windows()
    store.all_counts = lambda since, until: asked.append((since, until)) or real(since, until)  # type: ignore[method-assign, func-returns-value]
    judged(store, NOW, windows=windows)
    first = len(asked)
    judged(store, NOW + 15.0, windows=windows)
    assert first <= 12
    assert len(asked) - first <= 3
    assert all(until - since < HOUR_S for since, until in asked[first:])


def test_an_alert_fires_lasts_over_a_restart_and_ends_with_one_line_each(store: Store) -> None:
    write(store, NOW - 6 * HOUR_S, NOW - 600.0)
    write(store, NOW - 600.0, NOW, good=0, bad=100, explained=80)
    fired = judged(store, NOW)
    page = next(alert for alert in fired.alerts["a"] if alert.severity is Severity.PAGE)
    assert (page.firing, page.since) == (True, NOW)
    assert page.capacity_share == pytest.approx(0.8)
    event = next(event for event in fired.events if event.severity is Severity.PAGE)
    assert (event.at, event.firing) == (NOW, True)
    assert event.summary == (
        f"a {GOAL.key}: burn rate 16.7 over 1 h and 100 over 5 min, page above 13.4; "
        "capacity explains 80% of 6000 bad events"
    )
    store.write_tick(TickRecord(NOW, (), (), (), PolicyState(), alerts=fired.states, alert_events=fired.events))

    resumed = store.load_alerts()
    assert judged(store, NOW + 15.0, resumed).events == ()
    write(store, NOW, NOW + 1200.0)
    calm = judged(store, NOW + 1200.0, resumed)
    assert calm.alerts["a"][0].firing, "for two minutes it must be low"
    write(store, NOW + 1200.0, NOW + 1320.0)
    over = judged(store, NOW + 1320.0, calm.states)
    ends = [event for event in over.events if event.severity is Severity.PAGE]
    assert [(event.firing, event.summary) for event in ends] == [(False, f"a {GOAL.key}: page ended after 22 min")]
    assert PAGE not in over.states
    store.write_tick(TickRecord(NOW + 1320.0, (), (), (), PolicyState(), alerts=over.states, alert_events=over.events))
    kept = [event for event in store.alert_events("a") if event.severity is Severity.PAGE]
    assert [event.firing for event in kept] == [False, True]


def test_an_alert_of_an_objective_that_left_the_configuration_ends(store: Store) -> None:
    write(store, NOW - 600.0, NOW, good=0, bad=100)
    fired = judged(store, NOW)
    gone = judge_fleet(FLEET, store, Windows(), fired.states, AlertPolicy(), NOW + 15.0)
    assert {(event.firing, event.objective) for event in gone.events} == {(False, GOAL.key)}
    assert gone.states == {}


def test_an_alert_is_frozen_while_the_store_cannot_be_asked(store: Store) -> None:
    write(store, NOW - 600.0, NOW, good=0, bad=100)
    fired = judged(store, NOW)
    away = fired.unjudged(fired.states, "the database is away", NOW + 15.0)
    later = away.unjudged(fired.states, "the database is away", NOW + 30.0)
    assert {a.frozen_since for a in (*away.alerts["a"], *later.alerts["a"])} == {NOW + 15.0}
    assert away.states == fired.states
    assert away.events == ()
    assert {(a.firing, a.frozen) for a in away.alerts["a"]} == {
        (True, "the store cannot be asked: the database is away")
    }


@pytest.mark.parametrize("grace_s", [20.0, 75.0, 80.0, 320.0, 1200.0])
def test_alerts_are_judged_by_the_newest_that_is_known_however_late_its_sources_tell(
    store: Store, grace_s: float
) -> None:
    assert SHORT.key == GOAL.key
    known_until = NOW - grace_s
    write(store, known_until - HOUR_S, known_until, good=0, bad=100)
    found = judge_fleet(QUICK, store, Windows(), {}, AlertPolicy(), NOW, {"a": known_until})
    assert [(alert.firing, alert.frozen) for alert in found.alerts["a"]] == [(True, "")] * len(found.alerts["a"])
    late = judge_fleet(QUICK, store, Windows(), found.states, AlertPolicy(), NOW + HOUR_S)
    page = next(alert for alert in late.alerts["a"] if alert.severity is Severity.PAGE)
    assert page.firing
    assert page.frozen, "the time since then was not measured"


def test_what_people_exclude_counts_for_no_judgement_and_no_alert(store: Store) -> None:
    write(store, NOW - DAY_S, NOW - 600.0)
    write(store, NOW - 600.0, NOW - 300.0, good=0, bad=100)
    write(store, NOW - 300.0, NOW)
    assert judged(store, NOW).judgements["a"][0].window.bad == 3000
    exclude = Adjustment("ad-1", NOW, "ana", "drill", AdjustmentKind.EXCLUDE, "a", "", NOW - 600.0, NOW - 300.0)
    store.add_adjustment(exclude)
    found = judged(store, NOW)
    (judgement,) = found.judgements["a"]
    assert (judgement.window.bad, judgement.burn_1h, judgement.exhausted_1h_s) == (0, 0.0, None)
    assert judgement.window.expected_s == pytest.approx(28 * DAY_S - 300.0, abs=60.0)
    assert not any(alert.firing for alert in found.alerts["a"])


def test_nothing_fires_or_ends_in_excluded_time(store: Store) -> None:
    write(store, NOW - 3 * HOUR_S, NOW, good=0, bad=100)
    store.add_adjustment(
        Adjustment("ad-1", NOW, "ana", "works", AdjustmentKind.EXCLUDE, "", "", NOW - 7 * HOUR_S, NOW + HOUR_S)
    )
    found = judged(store, NOW)
    assert {alert.frozen.partition(":")[0] for alert in found.alerts["a"]} == {"nothing of the newest window counts"}


def test_the_time_until_the_budget_is_spent_is_told_at_the_pace_of_an_hour_and_of_six(store: Store) -> None:
    write(store, NOW - DAY_S, NOW - HOUR_S)
    write(store, NOW - HOUR_S, NOW, good=96, bad=4)
    (judgement,) = judged(store, NOW).judgements["a"]
    assert judgement.budget_left is not None
    assert judgement.burn_1h == pytest.approx(4.0, rel=0.02)
    assert judgement.exhausted_1h_s == pytest.approx(judgement.budget_left / judgement.burn_1h * 28 * DAY_S)  # type: ignore[operator]
    assert judgement.exhausted_6h_s is None, "at two thirds of the sustainable pace it lasts"


def test_versions_are_told_once_in_a_run() -> None:
    known: set[tuple[str, str]] = set()
    (first,) = versions_of(JUDGED, known, NOW)
    known.add((first.model, first.version))
    assert versions_of(JUDGED, known, NOW + 15.0) == ()
    other = replace(GOAL, target=0.999)
    changed = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(other,)),))
    assert [(v.objective, v.since) for v in versions_of(changed, known, NOW + 30.0)] == [(other, NOW + 30.0)]

"""Reports read off every store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from controlplane.config import parse_settings
from controlplane.domain.alerts import Severity
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec
from controlplane.domain.history import AlertEvent, BucketRow
from controlplane.domain.objectives import Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.slo_history import FleetCounts, JudgedAgain, Kept, step_length_s
from controlplane.loop.slo_report import Asked, read_history, read_report, read_standings
from controlplane.slo.again import Again
from controlplane.slo.report import MarkKind, Promise
from controlplane.store import SqlStore, open_store
from tests import slo_month
from tests.contract.postgres import new_database
from tests.slo_month import DAY_S, HOUR_S, NOW, SINCE

FLEET = parse_settings(slo_month.CONFIGURATION, {}).fleet
LATENCY, AVAILABILITY = FLEET.models[0].objectives
BERT, KEY = "bert_classifier", LATENCY.key


@pytest.fixture(scope="module", params=["sqlite", "memory", "postgresql"])
def month(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """A month, written once for each kind of store: it is only read."""
    if request.param == "postgresql":
        address = new_database(request.getfixturevalue("postgres"), "slo_month")
    else:
        address = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path_factory.mktemp('month') / 'm.db'}"
    opened = open_store(address)
    slo_month.fill(opened, {model.name: model.objectives for model in FLEET.models})
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("window_s", "points", "step_s"),
    [
        (HOUR_S, 400, 10),
        (HOUR_S, 100, 40),
        (6 * HOUR_S, 400, 60),
        (DAY_S, 400, 240),
        (2 * DAY_S, 400, 3600),
        (28 * DAY_S, 400, 7200),
        (90 * DAY_S, 400, 86400),
        (400 * DAY_S, 100, 345600),
    ],
)
def test_a_window_is_cut_into_few_steps_from_few_rows(window_s: float, points: int, step_s: int) -> None:
    assert step_length_s(window_s, points) == step_s
    assert window_s / step_s <= points


def test_the_report_of_a_month_reads_the_same_in_steps_and_in_sum_also_after_old_rows_are_gone(
    month: SqlStore,
) -> None:
    at = NOW + 1230.0
    before = read_report(month, FLEET, Asked(BERT), at)
    month.prune(NOW)
    report = read_report(month, FLEET, Asked(BERT), at)
    for old, new in zip(before.objectives, report.objectives, strict=True):
        assert new.standing.good == pytest.approx(old.standing.good, rel=1e-3), "the first hour is in or out as a whole"
    latency, availability = report.objectives
    for found in (latency, availability):
        steps, stands = found.steps, found.standing
        assert len(steps) == 337
        assert sum(s.good for s in steps) == stands.good
        assert sum(s.bad + s.corrected for s in steps) == stands.bad
        assert steps[-1].budget_left == pytest.approx(stands.budget_left)
        assert sum(s.measured_s for s in steps) == pytest.approx(stands.measured_s)
    assert latency.standing.excluded_s == 4 * HOUR_S
    assert latency.standing.corrected < 0
    assert availability.standing.corrected == 0, "events were corrected of the other objective"


def test_a_report_tells_what_happened(month: SqlStore) -> None:
    report = read_report(month, FLEET, Asked(BERT, KEY), NOW)
    (latency,) = report.objectives
    assert [(v.target, v.promise) for v in latency.versions] == [(0.995, Promise.KEPT), (0.99, Promise.KEPT)]
    assert latency.versions[1].since == slo_month.RETARGETED
    assert [a.severity.value for a in latency.alerts] == ["page", "ticket"]
    assert [a.id for a in report.adjustments] == ["ad-maintenance", "ad-load-test"]
    kinds = {mark.kind for mark in report.marks}
    assert kinds == {MarkKind.UP, MarkKind.DOWN, MarkKind.PERSON}
    assert all(mark.detail == "succeeded" for mark in report.marks if mark.kind is not MarkKind.PERSON)
    person = next(mark for mark in report.marks if mark.kind is MarkKind.PERSON)
    assert person.text == "freeze by ann: no_down; INC-1234; for 7200 s"
    assert [mark.at for mark in report.marks] == sorted(mark.at for mark in report.marks)
    assert report.marks_from == SINCE, "all of them are there"
    week = read_report(month, FLEET, Asked(BERT, window_s=7 * DAY_S), NOW)
    assert min(mark.at for mark in week.marks) >= NOW - 7 * DAY_S
    assert [a.id for a in week.adjustments] == ["ad-load-test"]


def test_of_many_decisions_the_newest_are_read_and_the_report_says_so(
    month: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.loop.slo_report._NEWEST", 10)
    report = read_report(month, FLEET, Asked(BERT), NOW)
    assert len([mark for mark in report.marks if mark.kind is not MarkKind.PERSON]) == 10
    assert report.marks_from == report.marks[0].at > SINCE


def test_alerts_of_one_objective_are_not_cut_for_those_of_another(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.loop.slo_report._NEWEST", 6)
    page = AlertEvent(NOW - 29 * DAY_S, BERT, KEY, Severity.PAGE, firing=True, summary="burns")
    of_latency = [page, *(replace(page, at=NOW - 60 * n, firing=n % 2 == 1) for n in range(4, 0, -1))]
    flapping = replace(page, objective=AVAILABILITY.key)
    of_another = [replace(flapping, at=NOW - 1000 + n, firing=n % 2 == 0) for n in range(20)]
    events = tuple(sorted((*of_latency, *of_another), key=lambda e: e.at))
    store.write_tick(TickRecord(NOW, (), (), (), PolicyState(), alert_events=events))
    latency, availability = read_report(store, FLEET, Asked(BERT), NOW).objectives
    assert latency.alerts_from is None
    assert [(a.since, a.until) for a in latency.alerts] == [
        (page.at, NOW - 240),
        (NOW - 180, NOW - 120),
        (NOW - 60, None),
    ], "it fired when the window began"
    assert availability.alerts_from == NOW - 1000 + 14
    assert [a.since for a in availability.alerts] == [NOW - 1000 + n for n in (14, 16, 18)]


def test_an_alert_that_fires_since_before_the_window_is_in_it(store: SqlStore) -> None:
    page = AlertEvent(NOW - 9 * DAY_S, BERT, KEY, Severity.PAGE, firing=True, summary="burns")
    ticket = replace(page, severity=Severity.TICKET)
    events = (page, ticket, replace(ticket, at=NOW - 8 * DAY_S, firing=False))
    store.write_tick(TickRecord(NOW, (), (), (), PolicyState(), alert_events=events))
    (latency,) = read_report(store, FLEET, Asked(BERT, KEY, window_s=DAY_S), NOW).objectives
    assert [(a.severity, a.since, a.until) for a in latency.alerts] == [(Severity.PAGE, page.at, None)]


def test_time_in_which_nothing_was_measured_is_told(month: SqlStore) -> None:
    history = read_history(month, FLEET, Asked("llama-8b"), NOW)
    dark = [s for s in history.steps if s.coverage == 0 and s.expected_s > 0]
    assert sum(s.end - s.start for s in dark) == pytest.approx(20 * HOUR_S)
    assert all(s.attainment_low is None for s in dark), "no uptime is made up for it"
    assert history.standing.coverage == pytest.approx(1 - 20 / (28 * 24 - 4))


def test_the_whole_fleet_stands_as_each_model_does(month: SqlStore) -> None:
    standings = read_standings(month, FLEET, None, NOW)
    assert [(s.model, s.objective) for s in standings] == [(m.name, o.key) for m in FLEET.models for o in m.objectives]
    alone = {s.model: read_report(month, FLEET, Asked(s.model), NOW) for s in standings}
    assert list(standings) == [o.standing for report in alone.values() for o in report.objectives]
    counts = FleetCounts(month).of(BERT, KEY)
    assert counts(SINCE, NOW) == month.counts(BERT, KEY, SINCE, NOW)
    assert counts(NOW, NOW + 60) == month.counts(BERT, KEY, NOW, NOW + 60)


def test_history_judged_again_by_its_own_threshold_counts_the_same_events(month: SqlStore) -> None:
    kept = Kept(month, BERT, KEY)
    again = JudgedAgain(month, BERT, LATENCY, ("edge",), kept)
    for since, until in ((SINCE, NOW), (NOW - 3 * HOUR_S, NOW), (NOW - 1.5 * DAY_S - 1200, NOW - 1800)):
        slices, histograms = kept.counts(since, until), again.counts(since, until)
        assert histograms.unsure == 0, "100 ms is an edge"
        assert histograms.events == pytest.approx(slices.events, rel=0.01)
        assert (histograms.measured_s, histograms.expected_s) == (slices.measured_s, slices.expected_s)
        steps = again.steps(since, until, 3600)
        assert sum(counts.good for _, counts in steps) >= histograms.good
    assert sum((c.good for _, c in again.steps(SINCE, NOW, 7200)), 0) == again.counts(SINCE, NOW).good


def test_another_threshold_gives_bounds_where_it_cuts_a_bucket_and_none_where_it_does_not(month: SqlStore) -> None:
    def judged(threshold_s: float) -> tuple[float, float]:
        report = read_report(month, FLEET, Asked(BERT, KEY, again=Again(threshold_s)), NOW)
        (found,) = report.objectives
        assert found.standing.objective == f"latency_{threshold_s * 1000:g}ms_gateway"
        assert f"threshold {threshold_s * 1000:g} ms in place of 100 ms" in found.judged_by
        assert found.standing.corrected == 0, "what people corrected was judged by another threshold"
        assert found.standing.excluded_s == 4 * HOUR_S, "but what they left out stays left out"
        assert found.steps[-1].budget_left == pytest.approx(found.standing.budget_left)
        assert found.standing.attainment_low is not None
        assert found.standing.attainment_high is not None
        return found.standing.attainment_low, found.standing.attainment_high

    strict, cut, loose = judged(0.05), judged(0.2), judged(0.25)
    assert strict[0] == strict[1]
    assert cut[0] < cut[1]
    assert loose[0] == loose[1]
    assert strict[1] < cut[0] < loose[0]
    assert cut[1] <= loose[1]


def test_another_target_needs_no_histogram(month: SqlStore) -> None:
    (found,) = read_report(month, FLEET, Asked(BERT, AVAILABILITY.key, again=Again(target=0.9999)), NOW).objectives
    assert found.standing.promise is Promise.BROKEN
    assert found.judged_by == "target 99.99% in place of 99.9%"
    assert (
        found.standing.good == read_report(month, FLEET, Asked(BERT, AVAILABILITY.key), NOW).objectives[0].standing.good
    )


def test_what_cannot_be_judged_again_says_why(month: SqlStore) -> None:
    report = read_report(month, FLEET, Asked(BERT, again=Again(0.2)), NOW)
    assert [o.standing.objective for o in report.objectives] == ["latency_200ms_gateway"]
    assert "has no threshold" in report.refused[AVAILABILITY.key]
    with pytest.raises(ConflictError, match="has no threshold"):
        read_report(month, FLEET, Asked("resnet50_detector", again=Again(0.2)), NOW)
    with pytest.raises(ConflictError, match="no histogram of it was kept"):
        read_report(month, FLEET, Asked("llama-8b", again=Again(0.2)), NOW)


def test_histograms_that_hold_only_a_part_of_the_events_say_so(store: SqlStore) -> None:
    times = [NOW - HOUR_S + 600 * n for n in range(6)]
    slices = tuple(Slice(BERT, KEY, at, 9, 1, 0, 10.0, 10.0, LATENCY.version) for at in times)
    rows = tuple(BucketRow(BERT, LATENCY.indicator, "edge", at, (0.1, 0.25), (9, 1, 0)) for at in times[3:])
    store.write_tick(TickRecord(NOW, slices, (), (), PolicyState(), histograms=rows))
    (found,) = read_report(store, FLEET, Asked(BERT, KEY, again=Again(0.25)), NOW).objectives
    assert found.judged_by.endswith("histograms were kept of 50% of its events")


def test_names_that_nobody_knows_are_refused(store: SqlStore) -> None:
    with pytest.raises(NotFoundError, match="known: bert_classifier"):
        read_report(store, FLEET, Asked("nobody"), NOW)
    with pytest.raises(NotFoundError, match=KEY):
        read_report(store, FLEET, Asked(BERT, "latency_1ms_gateway"), NOW)
    with pytest.raises(ConflictError, match="one objective is to be named"):
        read_history(store, FLEET, Asked(BERT), NOW)


def test_an_empty_store_gives_a_report_without_figures(store: SqlStore) -> None:
    report = read_report(store, FLEET, Asked(BERT), NOW)
    assert {o.standing.promise for o in report.objectives} == {Promise.NO_EVENTS}
    assert {o.standing.coverage for o in report.objectives} == {0.0}
    assert report.marks == ()
    bare = Fleet((), (ModelSpec("bare", "bare", (), Mode.ACT),))
    assert read_report(store, bare, Asked("bare"), NOW).objectives == ()

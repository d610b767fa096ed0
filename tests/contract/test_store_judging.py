"""What judging keeps, on every store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from controlplane.domain.alerts import AlertState, Severity, alert_key
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.history import (
    Adjustment,
    AdjustmentKind,
    AlertEvent,
    BucketRow,
    ObjectiveVersion,
    SketchRow,
)
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.state import PolicyState, UnitState
from controlplane.store import SqlStore, open_store, upgrade_schema
from controlplane.store.engine import make_engine, parse_url, reading, writing
from controlplane.store.schema import migrations_folder
from tests.contract.values import DAY, NOW, a_slice, a_tick, an_override

EDGES = (0.1, 0.5)
HOUR = 3600.0
OBJECTIVE = Objective(Indicator.TTFT, 0.99, 28 * DAY, IndicatorSource.SERVER, 0.5)


def row(start: float, *counts: int, edges: tuple[float, ...] = EDGES, errors: int = 0) -> BucketRow:
    return BucketRow("bert", Indicator.TTFT, "", start, edges, counts, errors)


def ttft(store: SqlStore, since: float, until: float, step_s: float) -> list[BucketRow | SketchRow]:
    return list(store.histograms("bert", Indicator.TTFT, "", since, until, step_s))


def test_histograms_add_up_to_the_same_at_every_level(store: SqlStore) -> None:
    hour = NOW // HOUR * HOUR
    minutes = [row(hour + 60 * n, n, 1, 0, errors=n) for n in range(60)]
    for first in range(0, 60, 7):
        store.write_tick(replace(a_tick(NOW + first), histograms=tuple(minutes[first : first + 7])))
    assert ttft(store, hour, hour + HOUR, 60) == minutes
    whole = row(hour, sum(range(60)), 60, 0, errors=sum(range(60)))
    assert ttft(store, hour, hour + HOUR, HOUR) == [whole]
    assert ttft(store, hour, hour + 600, 600) == [row(hour, 45, 10, 0, errors=45)]
    day = hour // DAY * DAY
    assert ttft(store, hour, hour + HOUR, DAY) == [replace(whole, start=day)]


def test_a_histogram_that_is_written_again_is_counted_once(store: SqlStore) -> None:
    tick = replace(a_tick(), histograms=(row(NOW, 1, 2, 3),))
    store.write_tick(tick)
    store.write_tick(tick)
    store.write_tick(replace(a_tick(NOW + 1), histograms=(row(NOW, 9, 9, 9), row(NOW + 60, 1, 0, 0))))
    assert ttft(store, NOW, NOW + 60, 60) == [row(NOW, 1, 2, 3)]
    assert ttft(store, NOW, NOW + 120, DAY) == [row(NOW // DAY * DAY, 2, 2, 3)]


def test_other_edges_stand_beside_each_other(store: SqlStore) -> None:
    other = row(NOW, 5, 6, edges=(0.2,))
    store.write_tick(replace(a_tick(), histograms=(row(NOW, 1, 2, 3), other)))
    assert sorted(ttft(store, NOW, NOW + 60, 60), key=lambda r: len(r.edges)) == [other, row(NOW, 1, 2, 3)]  # type: ignore[union-attr]


def test_sketches_gateways_and_indicators_are_kept_apart(store: SqlStore) -> None:
    rows = (
        SketchRow("bert", Indicator.LATENCY, NOW, {-3: 2, 41: 1}, 1),
        SketchRow("bert", Indicator.LATENCY, NOW + 60, {41: 5, 42: 1}),
        BucketRow("bert", Indicator.LATENCY, "envoy", NOW, EDGES, (1, 0, 0)),
        BucketRow("gpt", Indicator.LATENCY, "", NOW, EDGES, (7, 7, 7)),
    )
    store.write_tick(replace(a_tick(), histograms=rows))
    assert list(store.histograms("bert", Indicator.LATENCY, "", NOW, NOW + 120, 60)) == list(rows[:2])
    assert list(store.histograms("bert", Indicator.LATENCY, "", NOW, NOW + 60, DAY)) == [
        SketchRow("bert", Indicator.LATENCY, NOW // DAY * DAY, {-3: 2, 41: 6, 42: 1}, 1)
    ]
    assert list(store.histograms("bert", Indicator.LATENCY, "envoy", NOW, NOW + 60, 60)) == [rows[2]]


@pytest.mark.parametrize("step_s", [10.0, 90.0])
def test_histograms_are_asked_for_by_whole_minutes(store: SqlStore, step_s: float) -> None:
    with pytest.raises(ValueError, match="multiples of 60"):
        ttft(store, NOW, NOW + 60, step_s)
    with pytest.raises(ValueError, match="multiple of 60"):
        store.write_tick(replace(a_tick(), histograms=(row(NOW + 10, 1, 0, 0),)))


def test_histograms_past_their_time_go_and_their_sums_stay(store: SqlStore) -> None:
    store.write_tick(replace(a_tick(), histograms=(row(NOW, 1, 2, 3), row(NOW + 60, 1, 0, 0))))
    later = NOW + 15 * DAY
    assert store.prune(later) == 2
    day, hour = NOW // DAY * DAY, NOW // HOUR * HOUR
    assert ttft(store, hour, hour + HOUR, HOUR) == [row(hour, 2, 2, 3)]
    assert ttft(store, hour, hour + HOUR, 60) == [row(hour, 2, 2, 3)]
    store.write_tick(replace(a_tick(NOW + 1), histograms=(row(NOW, 1, 2, 3),)))
    assert ttft(store, NOW, NOW + 120, DAY) == [row(day, 2, 2, 3)]


def test_the_sums_of_all_are_those_of_each(store: SqlStore) -> None:
    old = tuple(a_slice(NOW - 3 * DAY + 10 * n, good=n, model=f"m{n % 3}") for n in range(90))
    new = tuple(a_slice(NOW + 10 * n, bad=n, model=f"m{n % 2}", version=f"v{n % 5}") for n in range(90))
    store.write_tick(a_tick(slices=(*old, *new)))
    for since, until in ((NOW - 5 * DAY, NOW + DAY), (NOW - 3 * DAY + 95, NOW + 333), (NOW + 5000, NOW + 6000)):
        found = store.all_counts(since, until)
        assert {model: counts for (model, _), counts in found.items()} == {
            model: counts
            for model in ("m0", "m1", "m2")
            if (counts := store.counts(model, "latency", since, until)).events
        }


def test_bad_events_that_capacity_explains_are_summed_like_the_others(store: SqlStore) -> None:
    store.write_tick(a_tick(slices=tuple(replace(a_slice(NOW + 10 * n), bad_capacity=n % 2) for n in range(60))))
    assert store.counts("bert", "latency", NOW - DAY, NOW + DAY).bad_capacity == 30


def test_what_an_objective_was_is_kept_by_version(store: SqlStore) -> None:
    first = ObjectiveVersion("bert", OBJECTIVE.version, OBJECTIVE, NOW)
    stricter = replace(OBJECTIVE, target=0.999)
    second = ObjectiveVersion("bert", stricter.version, stricter, NOW + 60)
    store.write_tick(replace(a_tick(), versions=(first,)))
    store.write_tick(replace(a_tick(NOW + 60), versions=(replace(first, since=NOW + 60), second)))
    assert list(store.versions("bert", OBJECTIVE.key)) == [first, second]
    assert list(store.versions("bert", "other")) == []


def test_an_objective_that_is_changed_back_is_kept_again(store: SqlStore) -> None:
    first = ObjectiveVersion("bert", OBJECTIVE.version, OBJECTIVE, NOW)
    stricter = replace(OBJECTIVE, target=0.999)
    second = ObjectiveVersion("bert", stricter.version, stricter, NOW + 60)
    back = replace(first, since=NOW + 120)
    store.write_tick(replace(a_tick(), versions=(first, second)))
    for again in (60, 61):
        store.write_tick(replace(a_tick(NOW + 60 + again), versions=(replace(first, since=NOW + 60 + again),)))
    assert list(store.versions("bert", OBJECTIVE.key)) == [first, second, back]
    past = replace(second, since=NOW - 60)
    store.write_tick(replace(a_tick(NOW + 200), versions=(past,)))
    assert list(store.versions("bert", OBJECTIVE.key)) == [past, first, second, back], "imported history goes before"


def test_imported_history_takes_no_time_from_a_version_that_held_in_it(store: SqlStore) -> None:
    first = ObjectiveVersion("bert", OBJECTIVE.version, OBJECTIVE, NOW)
    stricter = replace(OBJECTIVE, target=0.999)
    second = ObjectiveVersion("bert", stricter.version, stricter, NOW + 600)
    store.write_tick(replace(a_tick(), versions=(first,)))
    store.write_tick(replace(a_tick(NOW + 600), versions=(second,)))
    store.write_past((), (), (replace(second, since=NOW + 60),))
    assert list(store.versions("bert", OBJECTIVE.key)) == [first, second]
    past = replace(second, since=NOW - 60)
    for _ in range(2):
        store.write_past((), (), (past,))
    assert list(store.versions("bert", OBJECTIVE.key)) == [past, first, second]


def test_corrections_are_appended_and_withdrawn_once(store: SqlStore) -> None:
    made = Adjustment("a1", NOW, "ann", "load test", AdjustmentKind.EVENTS, "bert", "", NOW - 60, NOW, -5)
    gone = Adjustment("a2", NOW + 1, "bob", "it was real", AdjustmentKind.WITHDRAW, withdraws="a1")
    store.add_adjustment(made)
    with pytest.raises(NotFoundError, match="a9"):
        store.add_adjustment(replace(gone, withdraws="a9"))
    store.add_adjustment(gone)
    with pytest.raises(ConflictError, match="withdrawn already"):
        store.add_adjustment(replace(gone, id="a3"))
    with pytest.raises(NotFoundError, match="a2"):
        store.add_adjustment(replace(gone, id="a4", withdraws="a2"))
    assert list(store.adjustments()) == [made, gone]


def test_alerts_stand_after_a_restart_as_they_did(url: str) -> None:
    key = alert_key("bert", OBJECTIVE.key, Severity.PAGE)
    states = {key: AlertState(firing_since=NOW, frozen_since=NOW + 5)}
    event = AlertEvent(NOW, "bert", OBJECTIVE.key, Severity.PAGE, firing=True, summary="burns 20 times too fast")
    first = open_store(url)
    assert first.load_alerts() == {}
    tick = replace(a_tick(), alerts=states, alert_events=(event,))
    first.write_tick(tick)
    first.write_tick(tick)
    first.close()
    again = open_store(url)
    assert again.load_alerts() == states
    ended = replace(event, at=NOW + 60, firing=False)
    again.write_tick(replace(a_tick(NOW + 60), alert_events=(ended, replace(ended, model="gpt"))))
    assert list(again.alert_events("bert")) == [ended, event]
    assert len(again.alert_events(limit=2)) == 2
    again.close()


def test_migrations_go_down_and_up_again_with_data_in_place(url: str) -> None:
    judged = replace(
        a_tick(NOW + 15),
        histograms=(row(NOW, 1, 2, 3), SketchRow("bert", Indicator.TTFT, NOW, {3: 4}, 1)),
        versions=(ObjectiveVersion("bert", "v1", OBJECTIVE, NOW),),
        alerts={alert_key("bert", OBJECTIVE.key, Severity.PAGE): AlertState(firing_since=NOW)},
        alert_events=(AlertEvent(NOW, "bert", OBJECTIVE.key, Severity.PAGE, firing=True, summary="burns"),),
        state=PolicyState({"bert@t0": UnitState(wanted=True, instances=2)}),
    )
    made = Adjustment("a1", NOW, "ann", "a load test", AdjustmentKind.EXCLUDE, "bert", "", NOW, NOW + HOUR)
    gone = replace(made, id="a2", kind=AdjustmentKind.WITHDRAW, withdraws="a1")

    def judge(store: SqlStore) -> None:
        store.write_tick(judged)
        store.add_adjustment(made)
        store.add_adjustment(gone)

    def kept(store: SqlStore) -> tuple[object, ...]:
        versions = list(store.versions("bert", OBJECTIVE.key))
        told = (dict(store.load_alerts()), list(store.alert_events()), list(store.adjustments()), versions)
        return (ttft(store, NOW, NOW + 60, 60), *told)

    store = open_store(url)
    store.write_tick(a_tick(slices=tuple(replace(a_slice(NOW + 10 * n), bad_capacity=1) for n in range(10))))
    store.add_override(an_override("o1"))
    judge(store)
    before = kept(store)
    assert all(before)
    store.close()
    migrate(url, "0001")
    upgrade_schema(url)
    again = open_store(url)
    plain = Counts(90, 10, 20, 100.0, 100.0)
    assert again.counts("bert", "latency", NOW, NOW + DAY) == plain, "what capacity explains went with its column"
    assert [counts for _, counts in again.slices("bert", "latency", NOW, NOW + DAY, DAY)] == [plain]
    assert [o.id for o in again.overrides(NOW)] == ["o1"]
    assert again.load_state() == judged.state
    assert kept(again) == ([], {}, [], [], [])
    judge(again)
    assert kept(again) == before
    again.close()


def test_the_first_migration_leaves_nothing_behind_when_it_is_taken_back(url: str) -> None:
    open_store(url).close()
    migrate(url, "base")
    engine = make_engine(parse_url(url), 1.0)
    with reading(engine) as connection:
        tables = set(connection.dialect.get_table_names(connection))
        assert MigrationContext.configure(connection).get_current_revision() is None
    engine.dispose()
    assert tables <= {"alembic_version", "sqlite_sequence"}


def migrate(url: str, revision: str) -> None:
    engine = make_engine(parse_url(url), 1.0)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()

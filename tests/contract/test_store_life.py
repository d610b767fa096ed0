from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from controlplane.domain.decision import Action, Step
from controlplane.domain.errors import StoreError
from controlplane.domain.objectives import Counts, Indicator
from controlplane.domain.observation import (
    BatchCount,
    Interval,
    LatencyInterval,
    ProbeResult,
    RatioInterval,
    VersionCount,
)
from controlplane.domain.ports import Store
from controlplane.domain.records import Trace, Unclosed
from controlplane.domain.state import PolicyState, UnitState
from controlplane.store import SqlStore, open_store, schema_revision, upgrade_schema
from controlplane.store.engine import make_engine, parse_url, reading, writing
from controlplane.store.tables import REVISION, metadata
from tests.contract.values import NOW, a_decision, a_freeze, a_slice, a_tick, an_action, an_override


def test_the_sql_store_keeps_the_contract_of_the_port(store: SqlStore) -> None:
    port: Store = store
    assert port.wants() == ()


def test_what_was_read_and_is_in_no_closed_slice_outlives_a_restart(url: str) -> None:
    interval = Interval(NOW, NOW + 5, 7, 0, 0, 0, 0, 0.7, 0.1, 0, 2, 8, 1, (BatchCount(2, 3, 0.5),))
    latency = LatencyInterval(Indicator.LATENCY, NOW, NOW + 5, (0.1, 0.2), (1, 2, 3))
    interval = replace(interval, versions=(VersionCount("1", 7, 0, 0, 0),))
    ratio = RatioInterval("ratio_orders_prometheus", NOW, NOW + 5, 3, 1)
    trace = Trace((("t0", (interval,)), ("t1", ())), (latency,), (ProbeResult(NOW, "t0", 0.1),), (ratio,))
    trace = replace(trace, gateways=(("edge", NOW - 60),), closed_until=NOW)
    unclosed = Unclosed({"bert": trace})
    first = open_store(url)
    assert first.load_unclosed() == Unclosed()
    first.write_tick(replace(a_tick(), unclosed=unclosed))
    first.close()
    again = open_store(url)
    assert again.load_unclosed() == unclosed
    again.close()


def test_a_restart_goes_on_where_it_was(url: str) -> None:
    state = PolicyState({"bert@t0": UnitState(wanted=True, instances=2)})
    hold, action = a_decision("d1"), an_action("d2")
    first = open_store(url)
    first.write_tick(a_tick(slices=(a_slice(NOW),), decisions=(hold,), state=state))
    first.add_override(an_override("o1"))
    first.add_freeze(a_freeze("f1"))
    first.start_action(action)
    first.close()

    again = open_store(url)
    assert again.load_state() == state
    assert again.interrupt_actions(NOW + 10) == (action,)
    again.write_tick(
        a_tick(NOW + 15, slices=(a_slice(NOW), a_slice(NOW + 10)), decisions=(a_decision("d3", NOW + 15),), state=state)
    )
    assert again.counts("bert", "latency", NOW - 86_400, NOW + 86_400) == Counts(18, 2, 4, 20.0, 20.0)
    assert [(r.decision.id, r.repeats) for r in again.decisions()] == [("d1", 1)]
    assert [o.id for o in again.overrides(NOW + 15)] == ["o1"]
    assert [f.id for f in again.freezes(NOW + 15)] == ["f1"]
    again.close()


def test_a_tick_that_fails_half_way_leaves_nothing(store: SqlStore) -> None:
    bad = a_tick(NOW + 15, slices=(a_slice(NOW + 10),), decisions=(a_decision("d2", step="no step"),))  # type: ignore[arg-type]
    store.write_tick(a_tick(slices=(a_slice(NOW),)))
    with pytest.raises(AttributeError):
        store.write_tick(bad)
    assert store.counts("bert", "latency", NOW, NOW + 100).good == 9
    assert list(store.decisions()) == []


def test_many_threads_write_and_read_at_once(store: SqlStore) -> None:
    failures: list[Exception] = []

    def work(model: str) -> None:
        try:
            for n in range(10):
                store.write_tick(a_tick(NOW + n, slices=(a_slice(NOW + 10 * n, model=model),)))
                store.start_action(Action(f"{model}{n}", model, "t0", Step.LOAD, an_action().target, NOW))
                store.counts(model, "latency", NOW - 86_400, NOW + 86_400)
        except Exception as error:  # noqa: BLE001 - reported by the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"m{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [store.counts(f"m{n}", "latency", NOW, NOW + 100).good for n in range(4)] == [90] * 4
    assert len(store.interrupt_actions(NOW)) == 40


def test_two_processes_share_one_database(url: str) -> None:
    here, there = open_store(url), open_store(url, create=False)
    there.add_override(an_override("o1"))
    assert [o.id for o in here.overrides(NOW)] == ["o1"]
    here.close()
    there.close()


def test_migrations_lead_to_the_tables_of_the_code(url: str) -> None:
    assert schema_revision(url) is None
    assert upgrade_schema(url) == REVISION
    assert upgrade_schema(url) == REVISION
    assert schema_revision(url) == REVISION
    engine = make_engine(parse_url(url), 1.0)
    only_postgresql = {"ix_slices_start", "ix_rollups_level_s_start"}
    with reading(engine) as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, metadata)
        if connection.dialect.name == "sqlite":
            assert {index.name for _, index in differences} == only_postgresql
        else:
            assert differences == []
    engine.dispose()


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str, create: bool) -> None:
    upgrade_schema(url)
    set_revision(url, "9999")
    with pytest.raises(StoreError, match=r"'9999' is not known to this version.*newer controlplane"):
        open_store(url, create=create)
    assert schema_revision(url) == "9999"


def test_an_older_or_empty_database_is_not_touched_unless_asked(url: str) -> None:
    upgrade_schema(url)
    set_revision(url, "0000")
    with pytest.raises(StoreError, match=r"schema 0000 is older than .*controlplane db upgrade"):
        open_store(url, create=False)
    set_revision(url, None)
    with pytest.raises(StoreError, match="holds no controlplane schema"):
        open_store(url, create=False)


def test_upgrading_leaves_logging_as_it_was(url: str) -> None:
    logger = logging.getLogger("made.before")
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logger.disabled, logging.getLogger("alembic").level)
    upgrade_schema(url)
    assert (root.level, list(root.handlers), logger.disabled, logging.getLogger("alembic").level) == before


def set_revision(url: str, revision: str | None) -> None:
    engine = make_engine(parse_url(url), 1.0)
    with writing(engine) as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
        if revision is not None:
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")
    engine.dispose()

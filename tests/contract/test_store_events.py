from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from controlplane.domain.alerts import Severity
from controlplane.domain.decision import ActionStatus, Step
from controlplane.domain.events import Event, Position
from controlplane.domain.history import AlertEvent
from controlplane.domain.records import AuditEntry
from controlplane.store import SqlStore, open_store, people
from tests.contract.postgres import new_database
from tests.contract.values import NOW, a_decision, a_tick, an_action, an_outcome

LATER = NOW + 60


def an_entry(at: float, verb: str = "freeze") -> AuditEntry:
    return AuditEntry(at, "ann", verb, "bert", "incident 7")


def test_everything_that_happens_is_told_once_in_the_order_of_time(store: SqlStore) -> None:
    begun = store.newest_event()
    assert begun == Position()
    up = a_decision("d1", NOW, step=Step.LOAD)
    store.write_tick(a_tick(NOW, decisions=(up, a_decision("d2", NOW + 3, model="resnet"))))
    outcome = an_outcome(an_action("d1"), ActionStatus.SUCCEEDED, 2.0)
    store.finish_action(outcome)
    store.audit(an_entry(NOW + 1))
    alert = AlertEvent(NOW + 4, "bert", "latency", Severity.PAGE, firing=True, summary="it burns")
    store.write_tick(replace(a_tick(NOW + 4), alert_events=(alert,)))
    events = store.events(begun, 100, LATER)
    assert [event.value for event in events] == [
        up,
        an_entry(NOW + 1),
        outcome,
        a_decision("d2", NOW + 3, model="resnet"),
        alert,
    ]
    assert events[-1].position == store.newest_event()
    assert store.events(events[-1].position, 100, LATER) == []
    for seen, event in enumerate(events):
        assert store.events(event.position, 100, LATER) == events[seen + 1 :], "from each of them on it goes on"


def test_a_few_at_a_time_are_as_many_as_all_at_once(store: SqlStore) -> None:
    for n in range(7):
        store.audit(an_entry(NOW + 2 * n))
        store.write_tick(a_tick(NOW + n, decisions=(a_decision(f"d{n}", NOW + n, step=Step.LOAD),)))
    everything = store.events(Position(), 100, LATER)
    position = Position()
    told: list[Event] = []
    while found := store.events(position, 3, LATER):
        assert len(found) <= 3
        told += found
        position = found[-1].position
    assert [event.value for event in told] == [event.value for event in everything]
    assert len(told) == 14


def test_a_decision_that_is_only_prolonged_and_what_only_admins_may_read_are_no_events(store: SqlStore) -> None:
    store.write_tick(a_tick(decisions=(a_decision("d1"),)))
    position = store.events(Position(), 100, LATER)[-1].position
    store.write_tick(a_tick(NOW + 15, decisions=(a_decision("d2", NOW + 15),)))
    store.audit(an_entry(NOW + 16, "adjust_exclude"))
    store.audit(an_entry(NOW + 17))
    assert [event.value for event in store.events(position, 100, LATER)] == [an_entry(NOW + 17)]


def test_a_position_of_another_database_counts_as_the_newest(store: SqlStore) -> None:
    store.audit(an_entry(NOW))
    assert store.events(Position(9, 9, 9, 10**17), 100, LATER) == []


def test_what_gets_its_number_first_and_is_there_last_is_not_left_out(postgres: Path) -> None:
    store = open_store(new_database(postgres, "store_events"))
    store.audit(an_entry(NOW))
    position = store.newest_event()
    numbered, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with store._writing() as connection:
            people.add_audit(connection, an_entry(NOW + 1))
            numbered.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=slow)
    thread.start()
    assert numbered.wait(60)
    store.audit(an_entry(NOW + 2))
    before = store.events(position, 100, NOW + 3)
    go_on.set()
    thread.join(60)
    after = store.events(position, 100, NOW + 3)
    store.close()
    assert before == []
    assert [event.value for event in after] == [an_entry(NOW + 1), an_entry(NOW + 2)]


def test_a_number_that_never_came_holds_up_what_is_behind_it_for_a_moment_only(url: str) -> None:
    store = open_store(url)
    for n in range(3):
        store.audit(an_entry(NOW + n))
    with store._writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE seq = 2")
    assert [event.value for event in store.events(Position(), 100, NOW + 3)] == [an_entry(NOW)]
    assert [event.value for event in store.events(Position(), 100, NOW + 5)] == [an_entry(NOW), an_entry(NOW + 2)]
    store.close()


def test_a_clock_that_is_ahead_holds_up_nobody_who_follows(url: str) -> None:
    store = open_store(url)
    store.audit(an_entry(NOW + 3600, "adjust_exclude"))
    store.audit(an_entry(NOW + 3600))
    assert [event.value for event in store.events(Position(), 100, NOW)] == [an_entry(NOW + 3600)]
    store.close()

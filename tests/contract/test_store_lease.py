"""Who leads: a lease on the database, and that who lost it writes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import update

from controlplane.domain.errors import NotLeadingError, StoreBusyError
from controlplane.store import SqlStore, open_store
from controlplane.store.engine import make_engine, parse_url, reading, writing
from controlplane.store.lease import fence
from controlplane.store.tables import actions, lease
from tests.contract.postgres import new_database
from tests.contract.values import NOW, a_decision, a_tick, an_action, an_outcome, an_override

LONG_S = 600.0


def run_out(store: SqlStore) -> None:
    """As if its time had passed."""
    with writing(store._engine) as connection:
        connection.execute(update(lease).values(expires_at=1.0))


def test_the_first_takes_it_and_a_second_is_told_who_has_it(store: SqlStore) -> None:
    assert (store.lease.look().holder, store.lease.look().epoch) == ("", 0)
    taken = store.lease.take("a", LONG_S)
    assert (taken.holder, taken.epoch) == ("a", 1)
    assert LONG_S - 10 < taken.left_s <= LONG_S
    told = store.lease.take("b", LONG_S)
    assert (told.holder, told.epoch) == ("a", 1)
    assert 0 < told.left_s <= taken.left_s


def test_it_runs_out_by_the_databases_clock_unless_it_is_renewed(store: SqlStore) -> None:
    store.lease.take("a", 0.05)
    time.sleep(0.06)
    assert store.lease.look().left_s <= 0
    store.lease.renew(1, LONG_S)
    assert store.lease.take("b", LONG_S).holder == "a", "late, but nobody had taken it"
    run_out(store)
    assert (taken := store.lease.take("b", LONG_S)).holder == "b"
    assert taken.epoch == 2
    with pytest.raises(NotLeadingError, match="b leads now, in epoch 2"):
        store.lease.renew(1, LONG_S)
    assert store.lease.look().holder == "b"


def test_who_lets_go_of_it_is_followed_at_once(store: SqlStore) -> None:
    store.lease.take("a", LONG_S)
    store.lease.release(1)
    with pytest.raises(NotLeadingError, match="nobody leads now"):
        store.lease.renew(1, LONG_S)
    taken = store.lease.take("b", LONG_S)
    assert (taken.holder, taken.epoch) == ("b", 2)
    store.lease.release(1)
    assert store.lease.look().holder == "b", "an old holder lets go of nothing"


def test_who_is_alone_on_the_database_takes_it_from_a_holder_that_died(store: SqlStore) -> None:
    store.lease.take("a", LONG_S)
    taken = store.lease.take("b", LONG_S, sole=True)
    assert (taken.holder, taken.epoch) == ("b", 2)


WRITES: dict[str, Callable[[SqlStore], object]] = {
    "write_tick": lambda s: s.write_tick(a_tick(decisions=(a_decision("d1"),))),
    "start_action": lambda s: s.start_action(an_action("d1")),
    "finish_action": lambda s: s.finish_action(an_outcome(an_action("d1"))),
    "interrupt_actions": lambda s: s.interrupt_actions(NOW),
    "drop_ahead": lambda s: s.drop_ahead(NOW),
    "prune": lambda s: s.prune(NOW),
    "add_override": lambda s: s.add_override(an_override("o1")),
    "keep_config": lambda s: s.keep_config("bert", "t0", {}),
    "drop_config": lambda s: s.drop_config("bert", "t0"),
}


@pytest.mark.parametrize("name", WRITES)
def test_an_old_leader_that_wakes_up_writes_nothing(store: SqlStore, name: str) -> None:
    old, new = store.fenced(lambda: 1), store.fenced(lambda: 2)
    with pytest.raises(NotLeadingError):
        WRITES[name](old)
    store.lease.take("a", LONG_S)
    run_out(store)
    WRITES[name](old)
    store.lease.take("b", LONG_S)
    before = [store.decisions(), store.outcomes(0.0), store.overrides(NOW)]
    with pytest.raises(NotLeadingError, match="b leads now, in epoch 2; nothing was written"):
        WRITES[name](old)
    assert [store.decisions(), store.outcomes(0.0), store.overrides(NOW)] == before
    WRITES[name](new)
    store.lease.release(2)
    with pytest.raises(NotLeadingError, match="nobody leads now"):
        WRITES[name](new)
    assert old.load_state() == new.load_state(), "reading is free"


def test_an_action_is_journalled_with_the_epoch_of_who_began_it(store: SqlStore) -> None:
    store.lease.take("a", LONG_S)
    store.fenced(lambda: 1).start_action(an_action("d1"))
    store.lease.take("b", LONG_S, sole=True)
    store.fenced(lambda: 2).start_action(an_action("d2"))
    with reading(store._engine) as connection:
        rows = connection.execute(actions.select().order_by(actions.c.id)).all()
    assert [(row.id, row.epoch) for row in rows] == [("d1", 1), ("d2", 2)]


def test_of_many_that_want_it_at_the_same_moment_one_gets_it(url: str) -> None:
    open_store(url).close()
    stores = [open_store(url) for _ in range(4)]
    together = threading.Barrier(len(stores))

    def contend(number: int) -> list[tuple[str, int]]:
        won = []
        for _ in range(5):
            together.wait(60)
            taken = stores[number].lease.take(f"plane {number}", LONG_S)
            won.append((taken.holder, taken.epoch))
            together.wait(60)
            if taken.holder == f"plane {number}":
                stores[number].lease.release(taken.epoch)
        return won

    with ThreadPoolExecutor(len(stores)) as threads:
        told = list(threads.map(contend, range(len(stores))))
    for turn in zip(*told, strict=True):
        assert len(set(turn)) == 1, "all are told the same holder and epoch"
    assert [turn[1] for turn in told[0]] == [1, 2, 3, 4, 5]
    for store in stores:
        store.close()


def test_a_take_over_waits_for_a_write_under_way_and_renewals_do_not(postgres: Path) -> None:
    url = new_database(postgres, "leased")
    store = open_store(url, busy_timeout_s=0.2)
    store.lease.take("a", LONG_S)
    engine = make_engine(parse_url(url), busy_timeout_s=5.0)
    with writing(engine) as connection:
        fence(connection, 1)
        store.lease.renew(1, LONG_S)
        run_out(store)
        with pytest.raises(StoreBusyError):
            store.lease.take("b", LONG_S)
    assert store.lease.take("b", LONG_S).holder == "b"
    engine.dispose()
    store.close()


def test_a_leader_that_is_paused_inside_a_write_keeps_nobody_off(
    postgres: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgres, "paused")
    store = open_store(url)
    store.lease.take("a", LONG_S)
    paused = make_engine(parse_url(url), busy_timeout_s=5.0)

    def write_slowly() -> None:
        with monkeypatch.context() as soon:
            soon.setattr("controlplane.store.engine._STANDS_STILL_MS", 500)
            writes = ExitStack()
            connection = writes.enter_context(writing(paused))
        with writes:
            fence(connection, 1)
            run_out(store)
            assert store.lease.take("b", LONG_S).holder == "b", "the server ended the other's transaction"
            fence(connection, 1)

    with pytest.raises(StoreBusyError):
        write_slowly()
    paused.dispose()
    store.close()


def test_the_clock_is_the_databases(postgres: Path) -> None:
    store = open_store(new_database(postgres, "clock"))
    store.lease.take("a", LONG_S)
    with psycopg.connect(f"host={postgres} user=tester dbname=clock") as server:
        left = server.execute("SELECT expires_at - extract(epoch from clock_timestamp()) FROM lease").fetchone()
    assert left is not None
    assert abs(float(left[0]) - LONG_S) < 5
    store.close()

"""Real databases that go away: locked, full, read-only, damaged, stopped. Ticks go on, nothing is lost or doubled."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.history import BucketRow
from controlplane.domain.objectives import Indicator
from tests.contract.conftest import postgres
from tests.contract.postgres import new_database, start_server, stop_server
from tests.world.batcher import SimModel
from tests.world.world import T0, World, one_model

__all__ = ["postgres"]

_HOLDER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(_: World, file: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    command = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate("")


@contextmanager
def with_pragma(world: World, pragma: str, after: str) -> Iterator[None]:
    engine = world.real_store._engine

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(pragma)

    event.listen(engine, "begin", begin)
    yield
    event.remove(engine, "begin", begin)
    with engine.connect() as connection:
        connection.exec_driver_sql(after)
    engine.dispose()


@contextmanager
def full(world: World, file: Path) -> Iterator[None]:
    """SQLite may take no page more than it has, as on a full disk."""
    pages = sqlite3.connect(file).execute("PRAGMA page_count").fetchone()[0]
    with with_pragma(world, f"PRAGMA max_page_count = {pages}", "PRAGMA max_page_count = 1000000"):
        yield


@contextmanager
def read_only(world: World, _: Path) -> Iterator[None]:
    """SQLite refuses every write, as of a file that may only be read."""
    with with_pragma(world, "PRAGMA query_only = 1", "PRAGMA query_only = 0"):
        yield


@contextmanager
def damaged(world: World, file: Path) -> Iterator[None]:
    """All pages but the first hold nonsense, until the file is restored from a copy."""
    world.real_store._engine.dispose()
    other = sqlite3.connect(file)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    copy = file.with_suffix(".copy")
    shutil.copyfile(file, copy)
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(b"\xa5" * (copy.stat().st_size - 4096))
    yield
    world.real_store._engine.dispose()
    with file.open("r+b") as pages:
        pages.write(copy.read_bytes())
    for left in ("-wal", "-shm"):
        file.with_name(file.name + left).unlink(missing_ok=True)


FAULTS = {
    locked: "another process holds it locked",
    full: "the disk is full",
    read_only: "it cannot be written",
    damaged: "it is damaged",
}


def a_sim(away_s: float = 100.0) -> SimModel:
    """A step of the load comes when the store has been away for so long."""
    return SimModel("m", rates=((T0, 20.0), (T0 + 100 + away_s, 107.0)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_store_that_fails_for_minutes_is_told_and_borne(tmp_path: Path, fault: object) -> None:
    # the pages that there are may hold the slices of half an hour more
    away_s = 1500.0 if fault is full else 100.0
    sim, file = a_sim(away_s), tmp_path / "s.db"
    async with one_model(sim, store=file) as world:
        await world.run(100.0)
        with fault(world, file):  # type: ignore[operator]
            await world.run(away_s + 100.0)
            _away(world, FAULTS[fault])  # type: ignore[index]
        await world.run(200.0)
        await _all_there(world, sim)


async def test_a_postgresql_that_is_stopped_and_started_again_is_told_and_borne(postgres: Path) -> None:
    sim = a_sim()
    async with one_model(sim, store=new_database(postgres, "outage")) as world:
        await world.run(100.0)
        stop_server(postgres)
        try:
            await world.run(200.0)
            _away(world, "not available now")
        finally:
            start_server(postgres)
        await world.run(200.0)
        await _all_there(world, sim)


def _away(world: World, problem: str) -> None:
    """The picture says what is wrong, since when, and that nothing is done; ticks went on."""
    picture = world.runner.picture()
    health = picture.health
    assert problem in health.problem
    assert health.ticks >= 20
    assert health.unwritten_since is not None
    # a disk without room may still take some ticks that need no page more
    assert 1 <= health.unwritten == pytest.approx((world.now - health.unwritten_since) / 15.0, abs=1.1)
    (decision,) = picture.decisions
    assert (decision.step, decision.binding) == (Step.SET_INSTANCES, ReasonCode.STORE_AWAY)
    assert [at for at, _ in world.applied if at > health.unwritten_since] == []


async def _all_there(world: World, sim: SimModel) -> None:
    """It is written, each slice, minute and decision once, and what waited was done."""
    health = world.runner.picture().health
    assert (health.unwritten, health.unwritten_since, health.lost, health.problem) == (0, None, 0, "")
    assert sim.count >= 2, "what waited for the store was done"
    records = await world.thread.call(lambda s: s.decisions("m", 1000))
    assert sum(1 + record.repeats for record in records) == len(world.decisions)
    key = world.fleet.models[0].objectives[0].key
    kept = await world.thread.call(lambda s: s.slices("m", key, T0, world.now, 10.0))
    assert [start for start, _ in kept] == [T0 + 10.0 * i for i in range(len(kept))]
    assert len(kept) >= 47
    assert all(counts.measured_s == pytest.approx(10.0) for _, counts in kept[1:])
    minutes = await world.thread.call(lambda s: s.histograms("m", Indicator.LATENCY, "", T0, world.now, 60.0))
    starts = [row.start for row in minutes]
    assert starts == [starts[0] + 60.0 * i for i in range(len(starts))]
    counted = {start: sum(c.events for s, c in kept if start <= s < start + 60.0) for start in starts}
    assert {row.start: sum(row.counts) for row in minutes if isinstance(row, BucketRow)} == counted

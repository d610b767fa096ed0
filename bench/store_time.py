"""Writing a tick, against the same number of bare rows in SQLite."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from bench.figure import Figure
from bench.fleet import START, snapshot, tick_record
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.state import PolicyState
from controlplane.store import open_store

MODELS = 1000
INTERVAL_S = 15.0
_TICKS = 6
_GOAL_SHARE = 0.10


def run() -> Figure:
    """The longest time of write_tick, with a minute closed, for 1,000 models with two objectives each."""
    world = snapshot(MODELS, START)
    plan, state = decide(world, PolicyState(), Policy(), START)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/history.db")
        times = []
        for tick in range(_TICKS):
            now = START + tick * INTERVAL_S
            decisions = tuple(replace(d, id=f"{d.id}-{tick}", at=now) for d in plan.decisions)
            record = tick_record(world, decisions, state, now)
            began = time.perf_counter()
            store.write_tick(record)
            times.append(time.perf_counter() - began)
        store.close()
        bare_s = _bare(Path(folder) / "bare.db", 6 * MODELS)
    took_s = max(times[1:])
    share = took_s / INTERVAL_S
    return Figure(
        f"write a tick of {MODELS} models",
        f"{share:.1%} of the {INTERVAL_S:g} s interval"
        f" ({took_s * 1000:.0f} ms; {took_s / bare_s:.0f} times {6 * MODELS} bare rows)",
        f"at most {_GOAL_SHARE:.0%}",
        share <= _GOAL_SHARE,
        {"seconds": took_s, "first_s": times[0], "bare_rows_s": bare_s, "share_of_interval": share, "models": MODELS},
    )


def _bare(path: Path, rows: int) -> float:
    """Seconds in which the sqlite3 module puts as many rows into a table, in one transaction: the bound."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE t (model TEXT, objective TEXT, at REAL, good INT, bad INT, PRIMARY KEY (model, at))"
    )
    best, serial = float("inf"), count()
    for _ in range(_TICKS):
        values = [(f"model-{next(serial)}", "latency_200ms_gateway", START, 500, 2) for _ in range(rows)]
        began = time.perf_counter()
        with connection:
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", values)
        best = min(best, time.perf_counter() - began)
    connection.close()
    return best

"""SIGKILL at any moment of writing, rolling up and pruning: after it every slice is there once, on both stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KILLS = 200

# Forks writers that are killed, so that the imports are paid for once. A writer says that it wrote by a byte; it is
# killed a random part of some ticks' time after it said so the first time, so that a slow machine kills as well.
SCRIPT = """
import os, random, signal, sys, time
from dataclasses import replace
from sqlalchemy import text
from controlplane.domain.history import BucketRow
from controlplane.domain.objectives import Indicator
from controlplane.domain.state import PolicyState, UnitState
from controlplane.store import open_store
from controlplane.store.engine import make_engine, parse_url, reading
from tests.contract.values import DAY, NOW, a_slice, a_tick

url, kills = sys.argv[1], int(sys.argv[2])
models = [f"m{n}" for n in range(5)]

def write(told):
    store = open_store(url)
    n = written(store)
    while True:
        slices = tuple(a_slice(NOW + 10 * n, good=n + 1, model=model) for model in models)
        minute = NOW + 60 * n
        buckets = tuple(BucketRow(model, Indicator.TTFT, "", minute, (0.1,), (1, n)) for model in models)
        state = PolicyState({"unit": UnitState(failures=n + 1)})
        store.write_tick(replace(a_tick(NOW + 10 * n, slices=slices, state=state), histograms=buckets))
        n += 1
        if n % 3 == 0:  # what is older than the finest level reaches goes, a level at a time
            store.prune(NOW + 10 * n + 2 * DAY - 120)
        os.write(told, b".")

def written(store):
    units = store.load_state().units
    return units["unit"].failures if units else 0

def settled():
    # A killed client's PostgreSQL backend may be at its last commit still.
    if not url.startswith("postgresql"):
        return
    engine = make_engine(parse_url(url), 5.0)
    others = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 30
    while True:
        with reading(engine) as connection:
            if connection.execute(others).scalar() == 0:
                break
        assert time.monotonic() < deadline, "a backend outlives its client"
        time.sleep(0.002)
    engine.dispose()

def check():
    settled()
    store = open_store(url)
    n = written(store)
    for model in models:
        for since, until in ((NOW, NOW + 10 * n + 1000), (NOW - 40 * DAY, NOW + 40 * DAY)):
            counts = store.counts(model, "latency", since, until)
            assert (counts.good, counts.bad) == (n * (n + 1) // 2, n), (n, model, counts)
        days = store.histograms(model, Indicator.TTFT, "", NOW - DAY, NOW + 400 * DAY, DAY)
        assert [sum(day.counts[i] for day in days) for i in (0, 1)] == [n, n * (n - 1) // 2], (n, model)
    store.close()
    return n

chance = random.Random(7)
open_store(url).close()
seen = [0]
for _ in range(kills):
    reads, told = os.pipe()
    child = os.fork()
    if child == 0:
        write(told)
    os.close(told)
    os.read(reads, 1)
    began = time.perf_counter()
    os.read(reads, 1)
    time.sleep(chance.uniform(0, 3) * (time.perf_counter() - began))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(reads)
    seen.append(check())
assert seen == sorted(seen), seen
print(seen[-1])
"""


def test_a_kill_at_any_moment_loses_the_tick_under_way_at_most_and_doubles_nothing(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, url, str(KILLS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2 * KILLS  # each writer got through two ticks before it was killed

"""SIGKILL at any moment leaves a whole tick or none of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KILLS = 20

# Forks writers that are killed, so that the imports are paid for once.
SCRIPT = """
import os, random, signal, sys, time
from controlplane.domain.state import PolicyState, UnitState
from controlplane.domain.decision import Step
from controlplane.store import open_store
from tests.contract.values import NOW, a_decision, a_slice, a_tick

url, kills = sys.argv[1], int(sys.argv[2])
models = [f"m{n}" for n in range(5)]

def write():
    store = open_store(url)
    n = written(store)
    while True:
        at = NOW + 10 * n
        slices = tuple(a_slice(at, good=n + 1, model=model) for model in models)
        decisions = tuple(a_decision(f"{n}-{model}", at, model=model, step=Step.LOAD) for model in models)
        state = PolicyState({"unit": UnitState(failures=n + 1)})
        store.write_tick(a_tick(at, slices=slices, decisions=decisions, state=state))
        n += 1

def written(store):
    units = store.load_state().units
    return units["unit"].failures if units else 0

def check():
    store = open_store(url)
    n = written(store)
    for model in models:
        for since, until in ((NOW, NOW + 10 * n + 1000), (NOW - 40 * 86400, NOW + 40 * 86400)):
            counts = store.counts(model, "latency", since, until)
            assert counts.good == n * (n + 1) // 2, (n, model, counts)
            assert counts.bad == n, (n, model, counts)
    assert len(store.decisions(limit=100_000)) == n * len(models)
    store.close()
    return n

chance = random.Random(7)
open_store(url).close()
seen = [0]
for _ in range(kills):
    child = os.fork()
    if child == 0:
        write()
    time.sleep(chance.uniform(0.01, 0.08))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    seen.append(check())
assert seen == sorted(seen), seen
print(seen[-1])
"""


def test_a_kill_at_any_moment_loses_the_tick_under_way_at_most(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"sqlite:///{tmp_path / 'store.db'}", str(KILLS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > KILLS  # it did write while it was being killed

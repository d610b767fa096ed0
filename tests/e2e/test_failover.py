"""Two control planes on one PostgreSQL and a real Triton: whichever fails, the other goes on, and never both act.

`FAILOVERS=50` in the environment runs so many.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import psycopg
import pytest

from controlplane.demo.rig import TritonRig
from tests.contract.postgres import new_database
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import starts, traffic, write_model
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

FEW, MANY = 1, 3
FAULTS = ("pause", "kill", "pause", "stop")
TAKES_OVER_S = 15.0
LOAD_LINES = 2
"""A load, and the same configuration once more (see TritonActuator)."""
_FAILOVERS = int(os.environ.get("FAILOVERS", "4"))


def ask(plane: Plane, instances: int) -> None:
    """What a person says is taken by either of them."""
    body = {"instances": instances, "ttl": "1h", "reason": "launch"}
    status, answer = plane.call("PUT", "models/slow/instances", body)
    assert status == 202, answer


def fail(plane: Plane, fault: str) -> None:
    if fault == "pause":
        plane.pause()
    elif fault == "kill":
        plane.kill()
    else:
        assert plane.stop()[0] == 0


def mend(plane: Plane, fault: str) -> None:
    """It stands by again, and answers."""
    if fault == "pause":
        plane.wake()
    else:
        plane.start(ticked=False)
    until("it stands by", lambda: not plane.leads() and plane.get("fleet")["loop"]["leader"], told=plane.log_text)


def until_has(rig: TritonRig, plane: Plane, instances: int) -> None:
    """By the server itself: what a control plane read may be of before a pause."""
    until(
        f"{instances} instances",
        lambda: len(rig.stub_pids("slow")) == instances,
        15,
        lambda: json.dumps(
            [{k: d[k] for k in ("headline", "repeats", "outcomes")} for d in plane.decisions("slow")[-6:]]
        ),
    )


def journal(postgres: Path) -> list[tuple[int, float, str]]:
    """Epoch, time and step of every action, in the order in which they were begun."""
    with psycopg.connect(f"host={postgres} user=tester dbname=failover") as server:
        rows = server.execute("SELECT epoch, issued_at, body FROM actions WHERE epoch > 0 ORDER BY issued_at")
        return [(epoch, at, json.loads(body)["step"]) for epoch, at, body in rows.fetchall()]


def test_each_fail_over_goes_on_where_the_other_was_and_the_server_sees_no_conflict(
    triton_rig: RigFactory, new_plane: PlaneFactory, postgres: Path
) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", start_s=0.3, execute_s=0.02)
    rig.start()
    url = new_database(postgres, "failover").replace("@/", "@localhost/")  # a socket of it, as the query says
    model = {"name": "slow", "instances": {"min": 1, "max": 4}}
    tree = config(rig, [model], store=url, leader={"lease": "1s"})
    leader, other = new_plane(tree), new_plane(tree)
    leader.start()
    leader.until_instances("slow", FEW)
    other.start(ticked=False)
    until("the second stands by", lambda: other.get("fleet")["loop"]["leader"], told=other.log_text)
    moments = random.Random(7)  # noqa: S311 - moments, not secrets
    took: list[float] = []
    changes = 0
    with traffic(rig, "slow", at_once=2) as requests:
        for number in range(_FAILOVERS):
            wanted = FEW if number % 2 else MANY
            fault = FAULTS[number % len(FAULTS)]
            ask(other if number % 3 else leader, wanted)
            time.sleep(moments.uniform(0.0, 1.2))  # before, while and after the step is taken
            fail(leader, fault)
            failed = time.monotonic()
            until("the other leads", other.leads, TAKES_OVER_S, other.log_text)
            took.append(time.monotonic() - failed)
            until_has(rig, other, wanted)
            mend(leader, fault)
            changes += wanted == MANY
            leader, other = other, leader
        time.sleep(2.0)  # whoever woke last has had its chance to do harm
        until_has(rig, leader, wanted)
        leader.until_instances("slow", wanted)
    sys.stdout.write(f"taken over after {sorted(round(seconds, 2) for seconds in took)} s\n")
    assert requests.failed == {}
    begun = starts(rig, "slow")
    assert len(begun) == FEW + changes * (MANY - FEW), "each instance was started once, by one of them"
    told = rig.log_text().count("loading: slow:1")  # Triton says so of each change
    assert told == LOAD_LINES + _FAILOVERS, "each change was asked for once, by one of them"
    assert "successfully unloaded 'slow'" not in rig.log_text()
    actions = journal(postgres)
    epochs = [epoch for epoch, _, _ in actions]
    assert epochs == sorted(epochs), "no leader began a step after the next one had begun"
    assert leader.get("fleet")["loop"]["epoch"] == 1 + _FAILOVERS
    assert "Traceback" not in leader.log_text() + other.log_text()

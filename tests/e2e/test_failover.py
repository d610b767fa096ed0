"""Two control planes on one PostgreSQL, a real Triton and an API server: whichever fails, the other goes on, and never
both act.

Some fail for certain in the middle of a step, others at any moment. `FAILOVERS=50` in the environment runs so many.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controlplane.demo.rig import TritonRig
from tests.contract.postgres import new_database
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import starts, traffic, write_model
from tests.kube.cluster import Cluster
from tests.kube.faults import Fault
from tests.kube.server import ApiServer
from tests.kube.test_scaling import MERGE
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

FEW, MANY = 2, 4
FAULTS = ("stop", "kill", "pause", "pause")
IN_A_STEP = 1
"""Of these, the one that comes while instances start."""
ASKED = "loading: slow:1"
"""Triton says so of each change."""
_CHANGES = int(os.environ.get("FAILOVERS", "5")) - 2
"""Fail-overs at a change of instances: the first two are in a load and in a change of replicas."""


def ask(plane: Plane, of: str, number: int) -> None:
    """What a person says is taken by either of them."""
    body = {"instances" if of == "models/slow" else "replicas": number, "ttl": "1h", "reason": "launch"}
    status, answer = plane.call("PUT", f"{of}/{'instances' if of == 'models/slow' else 'replicas'}", body)
    assert status == 202, answer


def until_has(rig: TritonRig, plane: Plane, instances: int) -> None:
    """By the server itself: what a control plane read may be of before a pause."""
    until(
        f"{instances} instances",
        lambda: len(rig.stub_pids("slow")) == instances,
        60,
        lambda: json.dumps(
            [{k: d[k] for k in ("headline", "repeats", "outcomes")} for d in plane.decisions("slow")[-6:]]
        ),
    )


def journal(postgres: Path) -> list[tuple[int, float, str]]:
    """Epoch, time and step of every action, in the order in which they were begun."""
    with psycopg.connect(f"host={postgres} user=tester dbname=failover") as server:
        rows = server.execute("SELECT epoch, issued_at, body FROM actions WHERE epoch > 0 ORDER BY issued_at")
        return [(epoch, at, json.loads(body)["step"]) for epoch, at, body in rows.fetchall()]


def under_way(postgres: Path) -> list[str]:
    """The steps that were begun and have not ended, by the journal."""
    with psycopg.connect(f"host={postgres} user=tester dbname=failover") as server:
        rows = server.execute("SELECT body FROM actions WHERE finished_at IS NULL")
        return [json.loads(body)["step"] for (body,) in rows.fetchall()]


class Pair:
    """The one that leads, the one that stands by, and what was seen of fail-overs."""

    def __init__(self, leader: Plane, other: Plane, postgres: Path) -> None:
        self.leader, self.other, self.postgres = leader, other, postgres
        self.took: list[float] = []
        self.inside: list[str] = []
        """Steps that were under way when their leader failed."""

    def settle(self) -> None:
        """See who leads: on a machine that stands still for a while the lease is lost without any fault of ours."""
        until("one leads", lambda: self.leader.leads() or self.other.leads(), told=self.leader.log_text)
        if self.other.leads():
            self.leader, self.other = self.other, self.leader

    def until_under_way(self, step: str, seen: Callable[[], object]) -> None:
        """By the journal, and by who is asked for it."""
        until(f"{step} under way", lambda: step in under_way(self.postgres) and seen(), told=self.leader.log_text)
        self.settle()

    def fail(self, fault: str) -> None:
        """Returns when the other leads."""
        if fault == "pause":
            self.leader.pause()
        elif fault == "kill":
            self.leader.kill()
        else:
            assert self.leader.stop()[0] == 0
        failed = time.monotonic()
        self.inside += under_way(self.postgres)
        until("the other leads", self.other.leads, told=self.other.log_text)
        self.took.append(time.monotonic() - failed)

    def mend(self, fault: str) -> None:
        """The one that failed stands by again, and answers; the other is the leader from now on."""
        plane = self.leader
        if fault == "pause":
            plane.wake()
        else:
            plane.start(ticked=False)
        until("it stands by", lambda: not plane.leads() and plane.get("fleet")["loop"]["leader"], told=plane.log_text)
        self.leader, self.other = self.other, plane


def in_a_load(pair: Pair, rig: TritonRig, hold: Path) -> None:
    """The leader is paused while Triton loads; it has yet to set the instances when it wakes, and the other has."""
    pair.until_under_way("load", lambda: rig.stub_pids("slow"))
    ask(pair.other, "models/slow", MANY)
    pair.fail("pause")
    hold.unlink()
    until_has(rig, pair.other, MANY)
    pair.mend("pause")


def in_a_scale(pair: Pair, cluster: Cluster, api_server: ApiServer) -> None:
    """The leader is paused before its write is taken; when it wakes the other has written another number."""
    pair.settle()
    held = Fault(verb="update", resource="deployments/scale", times=1, late=True)
    api_server.faults.add(held)
    ask(pair.leader, "workloads/w", 5)
    pair.until_under_way("scale", lambda: held.times == 0)
    ask(pair.other, "workloads/w", 8)
    pair.fail("pause")
    until(
        "8 replicas",
        lambda: cluster.replicas() == 8 and "scale" not in under_way(pair.postgres),
        told=pair.other.log_text,
    )
    api_server.heal()
    until("the answer to the first", lambda: written(api_server)[-1] == 409)
    pair.mend("pause")


@contextmanager
def pods_made(cluster: Cluster) -> Iterator[None]:
    """The controller of the Deployment tells, as long as the block lasts, that all pods that it asks for were made."""
    ended = threading.Event()
    where = ("apps", "v1", cluster.namespace, "deployments", "llama")

    def tell() -> None:
        while not ended.wait(0.05):
            thing = cluster.read("apps/v1", "deployments", "llama")
            wanted = thing["spec"]["replicas"]
            if (thing.get("status") or {}).get("replicas") != wanted:
                status = {"status": {"replicas": wanted}}
                cluster.any.patch_namespaced_custom_object_status(*where, status, _content_type=MERGE)

    thread = threading.Thread(target=tell, name="controller")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def written(api_server: ApiServer) -> list[int]:
    """The answers to those who set replicas."""
    return [request.status for request in api_server.asked("update", "deployments/scale")]


def of_both(rig: TritonRig, cluster: Cluster, postgres: Path) -> dict[str, Any]:
    """The configuration of both."""
    url = new_database(postgres, "failover").replace("@/", "@localhost/")  # a socket of it, as the query says
    named = {"namespace": cluster.namespace, "kubeconfig": str(cluster.kubeconfig)}
    named |= {"kind": "Deployment", "name": "llama"}
    workload = {
        "name": "w",
        "kind": "vllm",
        "kubernetes": named,
        "ports": {"http": 9},
        "replicas": {"min": 2, "max": 9},
    }
    slow: dict[str, Any] = {"name": "slow", "instances": {"min": FEW, "max": MANY}}
    models = [slow, {"name": "llama", "runs_on": ["w"]}]
    return config(rig, models, store=url, leader={"lease": "1s"}, workloads=[workload])


def test_each_fail_over_goes_on_where_the_other_was_and_the_server_sees_no_conflict(
    triton_rig: RigFactory,
    new_plane: PlaneFactory,
    postgres: Path,
    api_server: ApiServer,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    rig, hold = triton_rig([], start=False), tmp_path / "hold"
    hold.touch()
    write_model(rig.repository, "slow", start_s=0.3, execute_s=0.02, hold=hold)
    rig.start()
    cluster.scaled()
    tree = of_both(rig, cluster, postgres)
    pair = Pair(new_plane(tree), new_plane(tree), postgres)
    pair.leader.start(ticked=False)
    pair.other.start(ticked=False)
    until("it stands by", lambda: pair.other.get("fleet")["loop"]["leader"], told=pair.other.log_text)
    in_a_load(pair, rig, hold)
    asked, before, changes = rig.log_text().count(ASKED), len(journal(postgres)), 0
    moments = random.Random(7)  # noqa: S311 - moments, not secrets
    with pods_made(cluster):
        in_a_scale(pair, cluster, api_server)
    with traffic(rig, "slow", at_once=2, timeout_s=60) as requests:
        for number in range(_CHANGES):
            pair.settle()
            wanted = MANY if number % 2 else FEW
            fault = FAULTS[number % len(FAULTS)]
            if number % len(FAULTS) == IN_A_STEP:
                hold.touch()
            ask(pair.other if number % 3 else pair.leader, "models/slow", wanted)
            if hold.exists():
                pair.until_under_way("set_instances", lambda: len(rig.stub_pids("slow")) > FEW)
            else:
                time.sleep(moments.uniform(0.0, 1.2))  # before, while and after the step is taken
            pair.fail(fault)
            hold.unlink(missing_ok=True)
            until_has(rig, pair.other, wanted)
            pair.mend(fault)
            changes += wanted == MANY
        until_has(rig, pair.leader, wanted)
        pair.leader.until_instances("slow", wanted, 60)
    took = sorted(round(seconds, 2) for seconds in pair.took)
    sys.stdout.write(f"taken over after {took} s; steps under way then: {dict(Counter(pair.inside))}\n")
    assert {"load", "scale", "set_instances"} <= set(pair.inside)
    assert requests.failed == {}
    begun = starts(rig, "slow")
    assert len(begun) == MANY + changes * (MANY - FEW), "each instance was started once, by one of them"
    told = rig.log_text().count(ASKED) - asked
    steps = journal(postgres)
    by_journal = [step for _, _, step in steps[before:]].count("set_instances")
    assert _CHANGES <= told <= by_journal, "each change was asked for, and each time by a step of the journal"
    assert "successfully unloaded 'slow'" not in rig.log_text()
    assert written(api_server)[-1] == 409, "who woke to a conflict wrote no other number"
    assert cluster.replicas() == 8
    epochs = [epoch for epoch, _, _ in steps]
    assert epochs == sorted(epochs), "no leader began a step after the next one had begun"
    assert pair.leader.get("fleet")["loop"]["epoch"] > len(pair.took)
    assert "Traceback" not in pair.leader.log_text() + pair.other.log_text()

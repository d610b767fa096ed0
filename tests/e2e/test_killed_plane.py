"""The control plane is killed at any point and started again: it goes on, and what it issues again changes nothing."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from controlplane.demo.rig import TritonRig
from tests.e2e.conftest import PlaneFactory
from tests.e2e.plane import Plane, config, until
from tests.e2e.traffic import send, starts, stubs, traffic, write_model
from tests.rig_fixtures import RigFactory

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

BERT = "bert_classifier"
SLOW = {"name": "slow", "instances": {"min": 1, "max": 4}}


def rows(plane: Plane, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{plane.store}?mode=ro", uri=True)) as store:
        return store.execute(query).fetchall()


def counted(plane: Plane) -> int:
    """Requests in all slices of the store."""
    return int(rows(plane, "SELECT coalesce(sum(good + bad + unsure), 0) FROM slices")[0][0])


def test_killed_at_random_moments_it_goes_on_where_it_was(triton_rig: RigFactory, new_plane: PlaneFactory) -> None:
    rig = triton_rig([BERT], load=[BERT])
    model = {"name": BERT, "instances": {"min": 1, "max": 4}, "objectives": [{"availability": "99%", "window": "1h"}]}
    plane = new_plane(config(rig, [model]))
    plane.start()
    for path, body in (
        (f"models/{BERT}/instances?wait=20", {"instances": 2, "ttl": "1h", "reason": "launch"}),
        ("freezes", {"ttl": "1h", "reason": "incident"}),
    ):
        status, answer = plane.call("PUT" if "models" in path else "POST", path, body, timeout_s=30)
        assert status in (200, 201), answer
    told = plane.get("overrides"), plane.get("freezes")
    alive = stubs(rig, BERT, 2)
    moments = random.Random(2)  # noqa: S311 - moments, not secrets
    known: set[str] = set()
    closed: list[tuple[Any, ...]] = []
    sent = 0
    for _ in range(4):
        send(rig, BERT, 5)
        sent += 5
        plane.until_ticked()
        known |= {d["id"] for d in plane.decisions(BERT)}
        time.sleep(moments.uniform(0, 2.2))
        plane.kill()
        after = rows(plane, "SELECT * FROM slices ORDER BY 1, 2")
        assert set(closed) <= set(after), "closed slices stay as they were"
        closed = after
        plane.start(ticked=False)
        assert (plane.get("overrides"), plane.get("freezes")) == told
        assert known <= {d["id"] for d in plane.decisions(BERT)}
    plane.until_ticked(2)
    assert rig.stub_pids(BERT) == alive
    assert len(starts(rig, BERT)) == 2, "what is issued again starts no instance"
    assert plane.instances(BERT) == 2
    assert "Traceback" not in plane.log_text()

    begun = counted(plane)
    plane.until_ticked()
    send(rig, BERT, 7)
    until("the newest slice is closed", lambda: counted(plane) >= begun + 7, 35, lambda: counted(plane))
    assert counted(plane) <= sent + 7, "no request is counted twice"
    starts_of_slices = [start for (start,) in rows(plane, "SELECT start FROM slices ORDER BY 1")]
    assert len(set(starts_of_slices)) == len(starts_of_slices)
    sums = rows(plane, "SELECT sum(good), sum(bad), sum(measured_s), sum(expected_s) FROM slices")
    assert sums == rows(
        plane, "SELECT sum(good), sum(bad), sum(measured_s), sum(expected_s) FROM rollups WHERE level_s = 3600"
    )
    assert plane.decisions(BERT)[0]["id"] in known


@pytest.fixture
def slow(triton_rig: RigFactory) -> TritonRig:
    """With a model whose instances take two seconds each to start."""
    rig = triton_rig([], start=False)
    write_model(rig.repository, "slow", start_s=2.0)
    rig.start()
    return rig


def kill_in_the_middle(plane: Plane, after_s: float) -> dict[str, Any]:
    """Kill and restart it while an action has been under way for `after_s`; gives that action."""
    action: dict[str, Any] = until("an action is under way", lambda: plane.unit("slow")["in_flight"])
    time.sleep(after_s)
    plane.kill()
    plane.start(ticked=False)
    return action


def interrupted(plane: Plane, action: dict[str, Any]) -> bool:
    """Whether the action is told to have been interrupted."""
    record = plane.get(f"decisions/{action['id']}")
    return [o["status"] for o in record["outcomes"]] == ["interrupted"]


def test_killed_in_mid_load_and_mid_raise_it_repeats_nothing_and_raises_still_work(
    slow: TritonRig, new_plane: PlaneFactory
) -> None:
    plane = new_plane(config(slow, [SLOW], policy={"scale_down_after": "10m"}))
    plane.start(ticked=False)
    loading = kill_in_the_middle(plane, 0.1)
    assert loading["step"] == "load"
    assert interrupted(plane, loading)
    plane.until_instances("slow", 1)
    first = stubs(slow, "slow", 1)
    assert len(starts(slow, "slow")) == 1

    raise_to(plane, 3)
    raising = kill_in_the_middle(plane, 1.0)
    assert raising["step"] == "set_instances"
    assert interrupted(plane, raising)
    assert "interrupted" in plane.cli("explain", raising["id"]).stdout
    plane.until_instances("slow", 3)
    plane.until_unit("slow", "is settled", settled, 20)
    three = stubs(slow, "slow", 3)
    assert first[0] in three
    assert len(starts(slow, "slow")) == 3

    raise_to(plane, 4)
    plane.until_instances("slow", 4)
    assert set(three) < set(stubs(slow, "slow", 4))
    assert len(starts(slow, "slow")) == 4


def raise_to(plane: Plane, count: int) -> None:
    status, answer = plane.call("PUT", "models/slow/instances", {"instances": count, "ttl": "1h", "reason": "launch"})
    assert status == 202, answer


def settled(unit: dict[str, Any]) -> bool:
    decision = unit["decision"]
    return decision is not None and unit["in_flight"] is None and decision["step"] == "hold"


def test_killed_in_an_automatic_raise_it_ends_with_enough_and_loses_no_request(
    slow: TritonRig, new_plane: PlaneFactory
) -> None:
    plane = new_plane(config(slow, [SLOW], policy={"scale_down_after": "10m"}))
    plane.start()
    plane.until_instances("slow", 1)
    with traffic(slow, "slow", 3) as requests:
        raising = kill_in_the_middle(plane, 0.5)
        assert raising["target"]["instances"] > 1
        stubs(slow, "slow", raising["target"]["instances"])
    # Triton shows the new count once the queue was empty for a moment.
    plane.until_instances("slow", raising["target"]["instances"])
    plane.until_unit("slow", "is settled", settled, 20)
    assert requests.failed == {}
    assert len(starts(slow, "slow")) == len(slow.stub_pids("slow")), "no instance was started twice"

"""When a placement is asked for anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.placing import Placement
from controlplane.domain.signal import Known, Missing
from controlplane.loop.placer import Placer
from tests.unit.decide.placed_world import EDGE, PlacedWorld, a_model


class FakeJob:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.plan: Known[Placement] | Missing = Missing("never asked")
        self.problem = ""

    def ask(self, _: object, __: float) -> bool:
        self.asked += 1
        return True

    def newest(self, _: float) -> Known[Placement] | Missing:
        return self.plan

    def close(self) -> None:
        pass


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> FakeJob:
    made = FakeJob()
    monkeypatch.setattr("controlplane.loop.placer.SlowJob", lambda *_, **__: made)
    return made


def world() -> PlacedWorld:
    return PlacedWorld({"t0": 4, "t1": 4}, [a_model("a", 2), a_model("b", 2)], t0=("a", "b"))


def test_it_is_asked_once_and_again_when_what_is_wanted_changes_or_a_server_fails(job: FakeJob) -> None:
    placed, placer = world(), Placer()
    placer.ask(placed.snapshot(), placed.state, 0.0)
    placer.ask(placed.snapshot(), placed.state, 15.0)
    assert job.asked == 1
    placed.fleet = replace(placed.fleet, models=(a_model("a", 2, copies_min=2), a_model("b", 2)))
    placer.ask(placed.snapshot(), placed.state, 30.0)
    assert job.asked == 2
    del placed.held["t1"]
    placer.ask(placed.snapshot(), placed.state, 45.0)
    assert job.asked == 2, "a server that was not read is not known to be gone"


def test_moves_under_way_are_no_reason_and_what_nobody_planned_is_one(job: FakeJob) -> None:
    placed, placer = world(), Placer()
    placer.ask(placed.snapshot(), placed.state, 0.0)
    target = {"t0": ("b",), "t1": ("a",)}
    job.plan = Known(Placement(target, (), (), ()), 0.0)
    placed.held["t1"] = {"a"}
    placer.ask(placed.snapshot(), placed.state, 15.0)
    assert job.asked == 1
    placed.held["t0"] = {"b"}
    placer.ask(placed.snapshot(), placed.state, 30.0)
    assert job.asked == 2, "once all moves are done there may be more to do"
    job.plan = Known(Placement(target, (), (), ()), 30.0)
    placer.ask(placed.snapshot(), placed.state, 45.0)
    assert job.asked == 2
    placed.held["t1"] = set()
    placer.ask(placed.snapshot(), placed.state, 60.0)
    assert job.asked == 3


def test_why_there_is_no_placement_is_told(job: FakeJob) -> None:
    placed, placer = world(), Placer()
    snapshot = placed.snapshot()
    servers = {name: replace(seen, models={}) for name, seen in snapshot.reading.servers.items()}
    silent = {**servers, "t0": replace(servers["t0"], live=Missing("timed out"))}
    placer.ask(replace(snapshot, reading=replace(snapshot.reading, servers=silent)), placed.state, 0.0)
    assert job.asked == 0
    assert placer.newest(0.0) == {EDGE: Missing("t0 was not read lately")}

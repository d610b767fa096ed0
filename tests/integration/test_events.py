"""Those who follow what happens, over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.api import feed
from controlplane.api.tokens import Scope, create_token
from controlplane.domain.decision import Action, ActionStatus, Outcome
from controlplane.domain.errors import StoreBusyError, StoreError
from controlplane.domain.picture import LoopHealth
from controlplane.domain.records import AuditEntry
from tests.integration.test_api_cli import Served
from tests.unit.api.fakes import NOW, FakePlane, scale_up

PATH = "/api/v1/events"


_FOLLOWERS: list[Follower] = []


def leave() -> None:
    while _FOLLOWERS:
        _FOLLOWERS.pop().close()


class Follower:
    """A client of the stream. Each event is its fields by name."""

    def __init__(self, served: Served, last_id: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=60)
        self._connection.request("GET", PATH, headers={"Last-Event-ID": last_id} | headers)
        self.answer = self._connection.getresponse()
        self.last_id = last_id
        _FOLLOWERS.append(self)

    def block(self) -> list[str]:
        """The lines up to the next empty one. Raises EOFError at the end."""
        lines = []
        while line := self.answer.readline().decode().rstrip("\n"):
            lines.append(line)
        if not lines:
            raise EOFError
        return lines

    def next(self) -> dict[str, Any]:
        """The next one that has data."""
        while True:
            fields = dict(line.split(": ", 1) for line in self.block())
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                return fields | {"data": json.loads(fields["data"])}

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePlane:
    monkeypatch.setattr(feed, "_PAUSE_S", 0.02)
    return FakePlane(tmp_path)


@pytest.fixture
def served(plane: FakePlane) -> Iterator[Served]:
    made = Served(plane)
    yield made
    leave()
    made.close()


def frozen(plane: FakePlane, n: int) -> None:
    entry = AuditEntry(NOW + n, "ann", "freeze", "bert", f"number {n}")
    asyncio.run(plane.store.call(lambda store: store.audit(entry)))


def until_free(served: Served) -> Follower:
    """A follower for whom there is a place, once one has become free."""
    deadline = time.monotonic() + 30
    while (one := Follower(served)).answer.status == 503 and time.monotonic() < deadline:
        one.close()
    return one


def test_each_kind_of_event_is_told_as_the_api_tells_it(plane: FakePlane, served: Served) -> None:
    one = Follower(served)
    assert (one.answer.status, one.answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert one.block() == ["id: 0.0.0.0", "retry: 2000"]
    asyncio.run(plane.write_decisions())
    frozen(plane, 1)
    action = Action("de-0001-up", "bert", "triton-0", scale_up(NOW).step, scale_up(NOW).target, NOW)  # type: ignore[arg-type]
    outcome = Outcome(action, ActionStatus.FAILED, NOW + 2, "no\nroom")
    asyncio.run(plane.store.call(lambda store: store.finish_action(outcome)))
    told = [one.next() for _ in range(4)]
    by_name = {event["event"]: event["data"] for event in told}
    assert [event["event"] for event in told].count("decision") == 2
    decisions = {event["data"]["id"]: event["data"] for event in told if event["event"] == "decision"}
    assert decisions["de-0001-up"]["headline"].startswith("2 -> 4 instances")
    assert by_name["instruction"] == {
        "at": NOW + 1,
        "actor": "ann",
        "verb": "freeze",
        "subject": "bert",
        "detail": "number 1",
    }
    failed = by_name["outcome"]
    assert [failed[key] for key in ("decision_id", "model", "status", "detail")] == [
        "de-0001-up",
        "bert",
        "failed",
        "no\nroom",
    ]
    one.close()


def test_who_comes_again_misses_nothing_and_gets_nothing_twice(plane: FakePlane, served: Served) -> None:
    one, got = Follower(served), []
    one.block()
    for n in range(0, 12, 2):
        frozen(plane, n)
        got.append(one.next()["data"]["detail"])
        one.close()
        frozen(plane, n + 1)
        one = Follower(served, one.last_id)
    got += [one.next()["data"]["detail"] for _ in range(12 - len(got))]
    assert got == [f"number {n}" for n in range(12)]
    everything = Follower(served, "0.0.0.0")
    again = [everything.next()["data"]["detail"] for _ in range(12)]
    assert again == got


def test_one_that_stands_by_tells_too(plane: FakePlane, served: Served) -> None:
    plane.health = LoopHealth(leader="plane-1", epoch=3)
    one = Follower(served)
    one.block()
    frozen(plane, 1)
    assert one.next()["event"] == "instruction"
    one.close()


def test_what_is_no_id_of_an_event_is_refused(served: Served) -> None:
    for wrong in ("1", "1.2.3", "1.2.3.x", "1.2.3.4.5", "-1.2.3.4", "9" * 19 + ".0.0.0"):
        one = Follower(served, wrong)
        assert one.answer.status == 422
        problem = json.load(one.answer)
        assert "header.Last-Event-ID" in problem["detail"]
        assert "four numbers as in 12.7.3.9" in problem["detail"]
        one.close()


def test_a_quiet_stream_shows_that_it_lives(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_BEAT_S", 0.05)
    one = Follower(served)
    one.block()
    assert one.block()[0].startswith(":")
    one.close()


def test_so_many_follow_and_no_more_until_one_leaves(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_READERS", 2)
    first, second, third = (Follower(served) for _ in range(3))
    assert [one.answer.status for one in (first, second, third)] == [200, 200, 503]
    assert third.answer.headers["retry-after"] == "5"
    first.close()
    fourth = until_free(served)
    assert fourth.answer.status == 200
    for one in (second, third, fourth):
        one.close()


def test_who_takes_nothing_gives_the_place_to_another(
    plane: FakePlane, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_READERS", 1)
    monkeypatch.setattr(feed, "_STALLED_S", 0.2)
    entry = AuditEntry(NOW, "ann", "freeze", "bert", "x" * 100_000)
    for _ in range(100):  # more than sockets hold
        asyncio.run(plane.store.call(lambda store: store.audit(entry)))
    Follower(served, "0.0.0.0")
    assert until_free(served).answer.status == 200


def test_a_stream_outlives_a_store_that_is_away_and_leaves_nothing_out(
    plane: FakePlane, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Follower(served)
    one.block()
    asked = 0

    async def away(*_: object) -> None:
        nonlocal asked
        asked += 1
        raise StoreBusyError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(plane.desk, "events", away)
        frozen(plane, 1)
        deadline = time.monotonic() + 30
        while asked < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert one.next()["data"]["detail"] == "number 1"
    one.close()


def test_a_stream_ends_where_the_store_cannot_be_read(
    plane: FakePlane, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(*_: object) -> None:
        raise StoreError("what the store holds cannot be read")

    one = Follower(served)
    one.block()
    monkeypatch.setattr(plane.desk, "events", damaged)
    monkeypatch.setattr(feed, "_BEAT_S", 0.05)
    with pytest.raises(EOFError):
        one.block()


def test_a_stream_goes_no_further_than_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_PAUSE_S", 0.02)
    secret = create_token(tmp_path / "tokens", "ann", Scope.VIEWER, NOW + 3600)
    plane = FakePlane(tmp_path, extra=f"api: {{tokens_file: {tmp_path / 'tokens'}}}\n")
    served = Served(plane)
    one = Follower(served, Authorization=f"Bearer {secret}")
    one.block()
    frozen(plane, 1)
    assert one.next()["data"]["detail"] == "number 1"
    plane.loop.now = NOW + 3600
    with pytest.raises(EOFError):
        one.next()
    assert Follower(served, one.last_id, Authorization=f"Bearer {secret}").answer.status == 401
    leave()
    served.close()

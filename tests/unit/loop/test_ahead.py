"""A clock that was set forward, and back before a restart, leaves nothing that stands in the way of the truth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from controlplane.domain.alerts import AlertState
from controlplane.domain.objectives import SLICE_S, Indicator, Slice
from controlplane.domain.observation import LatencyInterval, ProbeResult
from controlplane.domain.ports import Store
from controlplane.domain.records import TickRecord, Trace, Unclosed
from controlplane.domain.state import PolicyState
from controlplane.loop.ahead import MOST_S, let_go_of_ahead, not_ahead
from controlplane.loop.history import SliceWriter
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from tests.unit.loop.worlds import FLEET, NOW, a_reading


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store("sqlite://")
    yield opened
    opened.close()


def write(store: Store, since: float, until: float) -> None:
    slices = (
        Slice("a", "o", at * SLICE_S, 1, 0, 0, SLICE_S, SLICE_S, "v")
        for at in range(int(since // 10), int(until // 10))
    )
    store.write_tick(TickRecord(until, tuple(slices), (), (), PolicyState()))


def test_slices_ahead_are_dropped_with_one_warning_of_how_many_and_until_when(store: Store) -> None:
    write(store, NOW - 600, NOW)
    write(store, NOW + 3000, NOW + 3600)
    with capture_logs() as logs:
        let_go_of_ahead(store, NOW)
        let_go_of_ahead(store, NOW)
    assert logs == [
        {
            "event": "slices dated ahead of now were dropped: the clock was set back",
            "log_level": "warning",
            "slices": 60,
            "until": "2023-11-14T23:13:20Z",
        }
    ]
    assert store.counts("a", "o", NOW - 600, NOW + 86400).good == 60


def test_history_far_ahead_may_be_true_and_is_only_told_of(store: Store) -> None:
    write(store, NOW - 600, NOW + MOST_S + 60)
    with capture_logs() as logs:
        let_go_of_ahead(store, NOW)
    assert [(log["log_level"], log["slices"]) for log in logs] == [("error", int(MOST_S + 60) // 10 - 2)]
    assert "drop-ahead" in logs[0]["remedy"]
    assert store.counts("a", "o", NOW, NOW + 86400).good == int(MOST_S + 60) // 10


def test_no_alert_fires_since_a_moment_that_is_not_yet(store: Store) -> None:
    states = {"a/o/page": AlertState(NOW + 3475, NOW + 10, None), "a/o/ticket": AlertState(NOW - 60, None, NOW + 1)}
    assert not_ahead(states, NOW) == {
        "a/o/page": AlertState(NOW, NOW, None),
        "a/o/ticket": AlertState(NOW - 60, None, NOW),
    }


def test_what_was_read_ahead_is_in_no_slice_that_comes() -> None:
    def timed(end: float) -> LatencyInterval:
        return LatencyInterval(Indicator.LATENCY, end - 5, end, (0.1,), (1, 0), gateway="g")

    probes = tuple(ProbeResult(at, "t0", 0.1) for at in (NOW - 5, NOW + 30))
    near = Trace((), (timed(NOW - 5), timed(NOW + 30)), probes, (), (("g", NOW + 30),), NOW - 20)
    far = Trace((), (timed(NOW + 3600),), (), (), (("g", NOW + 3600),), NOW + 3590)
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW, Unclosed({"a": near, "b": far}))
    kept = writer.unclosed(FLEET, a_reading())
    assert (kept.traces["a"].latencies, kept.traces["a"].probes) == ((timed(NOW - 5),), probes[:1])
    assert (kept.traces["b"].latencies, kept.traces["b"].closed_until) == ((), NOW)

"""Which slices are closed when: each once, and no more than readings reach back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.fleet import Fleet, Phase, ServerKind, ServerSpec
from controlplane.domain.history import BucketRow, SketchRow
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.observation import (
    FleetReading,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ProbeResult,
    ServerReading,
)
from controlplane.domain.records import Unclosed
from controlplane.domain.signal import Known, Missing
from controlplane.domain.sources import GatewaySpec, PrometheusSpec, Through
from controlplane.loop.history import Closed, SliceWriter
from controlplane.slo.grace import Grace
from controlplane.store.codec import UNCLOSED
from tests.discovery_fake import member, workload
from tests.unit.loop.worlds import FLEET, NOW, a_reading

AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
JUDGED = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(AVAILABILITY,)),))
YEAR_S = 365 * 86400.0


def starts(writer: SliceWriter, now: float) -> list[float]:
    return [piece.start for piece in writer.close(JUDGED, a_reading(), now).slices]


def test_each_slice_is_closed_once_after_the_grace() -> None:
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW + 3, Unclosed())
    assert starts(writer, NOW + 19.9) == []
    assert starts(writer, NOW + 31) == [NOW, NOW + SLICE_S]
    assert starts(writer, NOW + 31) == []


def test_a_clock_set_far_forward_gives_only_the_slices_that_readings_reach() -> None:
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW, Unclosed())
    closed = starts(writer, NOW + 50 * YEAR_S)
    assert len(closed) == 360
    assert closed[-1] == NOW + 50 * YEAR_S - 10.0 - SLICE_S
    assert starts(writer, NOW + 50 * YEAR_S + SLICE_S) == [closed[-1] + SLICE_S]


# servers that come and go

W = workload()
MODEL = replace(FLEET.models[0], runs_on=(), objectives=(AVAILABILITY,), workloads=(W.name,))
CONFIGURED = Fleet((), (MODEL,), workloads=(W,))


def did(start: float, end: float, completed: int = 10) -> Interval:
    return Interval(start, end, completed, 0, 0, 0, 0, 1.0, 0.1, 0, 0, 1, 1)


def reading_of(**servers: list[Interval]) -> FleetReading:
    """What was read of the members of the workload, by instance."""
    seen = {
        f"w/{name}": ServerReading(
            f"w/{name}",
            Missing("not told"),
            Missing("not told"),
            0,
            {"a": Known(ModelReading(ModelState.READY, intervals=tuple(intervals)), NOW)},
        )
        for name, intervals in servers.items()
    }
    return FleetReading(NOW, seen, {}, {}, Missing("no driver"))


def judged(closed: Closed) -> dict[float, tuple[int, float]]:
    """Good events and measured seconds by seconds from NOW."""
    return {piece.start - NOW: (piece.good, piece.measured_s) for piece in closed.slices}


def a_writer() -> SliceWriter:
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW, Unclosed())
    return writer


def test_what_a_server_did_before_it_left_counts_in_its_slices_and_nowhere_after() -> None:
    writer = a_writer()
    both = CONFIGURED.with_members([member("0", ready_at=NOW - 100), member("1", ready_at=NOW - 100)])
    one = CONFIGURED.with_members([member("0", ready_at=NOW - 100)])
    stays = [did(NOW, NOW + 9), did(NOW + 9, NOW + 30)]
    writer.part(both, reading_of(**{"1": [did(NOW, NOW + 5, 7), did(NOW + 5, NOW + 15, 3)]}))
    closed = judged(writer.close(one, reading_of(**{"0": stays}), NOW + 40))
    assert closed == {0.0: (10 + 7, 10.0), 10.0: (3, 10.0), 20.0: (0, 10.0)}, "the last events end at 30"
    ((left, intervals),) = writer.unclosed(one, reading_of(**{"0": stays})).traces["a"].servers
    assert (left, intervals) == ("w/0", (stays[1],)), "those are in no closed slice yet"


def test_it_waits_in_the_store_for_a_control_plane_that_goes_on() -> None:
    writer = a_writer()
    both = CONFIGURED.with_members([member("0", ready_at=NOW - 100), member("1", ready_at=NOW - 100)])
    writer.part(both, reading_of(**{"1": [did(NOW, NOW + 5, 7)]}))
    kept = writer.unclosed(CONFIGURED, reading_of())
    later = SliceWriter(Grace(5.0, 5.0))
    later.begin(NOW + 30, kept)
    assert judged(later.close(CONFIGURED, reading_of(), NOW + 40))[0.0] == (7, 10.0)


def test_no_difference_is_taken_between_two_processes_of_one_name() -> None:
    writer = a_writer()
    fleet = CONFIGURED.with_members([member("0", ready_at=NOW - 100)])
    writer.part(fleet, reading_of(**{"0": [did(NOW, NOW + 4, 7)]}))
    closed = judged(writer.close(fleet, reading_of(**{"0": [did(NOW + 6, NOW + 9, 2)]}), NOW + 30))
    assert closed[0.0] == (9, 7.0), "both counted, the time between unmeasured"


def test_a_server_is_expected_from_when_it_was_ready_and_a_silent_one_counts_as_unmeasured() -> None:
    here, comes = member("0", ready_at=NOW - 100), member("1", ready_at=NOW + 5)
    read = {"0": [did(NOW, NOW + 20)]}
    silent = a_writer().close(CONFIGURED.with_members([here, comes]), reading_of(**read, **{"1": []}), NOW + 30)
    assert {at: round(s, 3) for at, (_, s) in judged(silent).items()} == {0.0: round(100 / 15, 3), 10.0: 5.0}
    starting = replace(comes, phase=Phase.STARTING, ready_at=None)
    closed = a_writer().close(CONFIGURED.with_members([here, starting]), reading_of(**read, **{"1": []}), NOW + 30)
    assert {s for _, s in judged(closed).values()} == {10.0}, "nobody is served by one that starts"


def test_a_terminating_server_still_counts_what_it_does() -> None:
    fleet = CONFIGURED.with_members([member("0", Phase.TERMINATING, ready_at=NOW - 100)])
    closed = judged(a_writer().close(fleet, reading_of(**{"0": [did(NOW, NOW + 8, 4)]}), NOW + 30))
    assert closed == {0.0: (4, 10.0), 10.0: (0, 0.0)}


def test_a_workload_without_servers_is_unmeasured() -> None:
    closed = judged(a_writer().close(CONFIGURED.with_members([]), reading_of(), NOW + 20))
    assert closed == {0.0: (0, 0.0)}


# minutes

EDGES = (0.05, 0.1)


def timed(end: float, *counts: int) -> LatencyInterval:
    return LatencyInterval(Indicator.LATENCY, end - 5.0, end, EDGES, counts, errors=1)


def reading_at(now: float, began: float = NOW) -> FleetReading:
    """A gateway read every 5 s since `began`, a probe every 20 s."""
    latencies = [timed(at, 3, 2, 1) for at in _every(began + 5.0, now, 5.0)]
    probes = [ProbeResult(at, "t0", 0.02) for at in _every(began + 1.0, now, 20.0)]
    return FleetReading(now, {}, {"a": tuple(latencies)}, {"a": tuple(probes)}, Missing("no driver"))


def _every(first: float, last: float, step: float) -> list[float]:
    return [first + i * step for i in range(int((last - first) // step) + 1)] if first <= last else []


def minutes(closed: Closed) -> list[tuple[float, int]]:
    """Seconds from NOW and events of each row, first of the gateway and then of probes."""
    counts = [sum(row.counts) if isinstance(row, BucketRow) else sum(row.buckets.values()) for row in closed.histograms]
    return [(row.start - MINUTE, count) for row, count in zip(closed.histograms, counts, strict=True)]


MINUTE = NOW // 60.0 * 60.0


def test_a_minute_is_given_once_all_of_its_slices_are_closed() -> None:
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(MINUTE, Unclosed())
    found = [
        minutes(writer.close(JUDGED, reading_at(at, MINUTE), at)) for at in (MINUTE + 65, MINUTE + 75, MINUTE + 90)
    ]
    assert found == [[], [(0.0, 66), (0.0, 3)], []]
    assert minutes(writer.close(JUDGED, reading_at(MINUTE + 200, MINUTE), MINUTE + 200)) == [
        (60.0, 72),
        (120.0, 72),
        (60.0, 3),
        (120.0, 3),
    ]


@pytest.mark.parametrize("stopped_at", [20.0, 55.0, 69.0, 75.0, 100.0, 131.0])
def test_over_a_restart_each_minute_is_given_exactly_once_with_all_that_was_read(stopped_at: float) -> None:
    rows: list[BucketRow | SketchRow] = []
    first, second = SliceWriter(Grace(5.0, 5.0)), SliceWriter(Grace(5.0, 5.0))
    first.begin(MINUTE, Unclosed())
    kept = Unclosed()
    for at in _every(MINUTE + 15.0, MINUTE + stopped_at, 15.0):
        rows += first.close(JUDGED, reading_at(at, MINUTE), at).histograms
        kept = first.unclosed(JUDGED, reading_at(at, MINUTE))
        assert len(kept.traces["a"].latencies) <= 6, "a summed one for what is in closed slices"
    ended = max(_every(MINUTE + 15.0, MINUTE + stopped_at, 15.0))
    second.begin(ended + 2.0, UNCLOSED.load(UNCLOSED.dump(kept)))
    for at in _every(ended + 15.0, MINUTE + 300.0, 15.0):
        rows += second.close(JUDGED, reading_at(at, ended), at).histograms
    buckets = [row for row in rows if isinstance(row, BucketRow)]
    assert [row.start for row in buckets] == [MINUTE + 60.0 * i for i in range(len(buckets))]
    assert len(buckets) >= 4
    by_hand = [timed(at, 3, 2, 1) for at in _every(MINUTE + 5.0, MINUTE + 300.0, 5.0)]
    for row in buckets:
        read = [li for li in by_hand if row.start <= li.end < row.start + 60.0]
        assert (sum(row.counts), row.errors) == (sum(sum(li.counts) for li in read), len(read))
    sketches = [row for row in rows if isinstance(row, SketchRow)]
    assert [row.start for row in sketches] == [row.start for row in buckets]


def test_each_model_waits_for_its_own_sources_also_over_a_restart() -> None:
    slow = PrometheusSpec("slow", "http://p", 10.0, interval_s=60.0)
    servers = (*FLEET.servers, ServerSpec("t1", ServerKind.VLLM, "http://y", "", through=Through("slow", ())))
    models = (JUDGED.models[0], replace(FLEET.models[1], runs_on=("t1",), objectives=(AVAILABILITY,)))
    fleet = replace(FLEET, servers=servers, models=models, prometheus=(slow,))

    def given(writer: SliceWriter, now: float) -> dict[str, list[float]]:
        slices = writer.close(fleet, a_reading(), now).slices
        return {name: [s.start - NOW for s in slices if s.model == name] for name in ("a", "b")}

    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW, Unclosed())
    assert given(writer, NOW + 30) == {"a": [0, 10], "b": []}
    assert given(writer, NOW + 90) == {"a": [20, 30, 40, 50, 60, 70], "b": [0]}
    later = SliceWriter(Grace(5.0, 5.0))
    later.begin(NOW + 95, UNCLOSED.load(UNCLOSED.dump(writer.unclosed(fleet, a_reading()))))
    assert given(later, NOW + 100) == {"a": [80], "b": [10]}


# gateways

AT_GATEWAYS = Objective(Indicator.LATENCY, 0.99, 86400.0, IndicatorSource.GATEWAY, 0.1)
GATES = replace(
    JUDGED,
    models=(replace(JUDGED.models[0], objectives=(AT_GATEWAYS,)),),
    gateways=tuple(GatewaySpec(name, "http://g/metrics", "h", "model", "", "5..") for name in ("left", "right")),
)


def through(until: float, right_until: float, began: float = NOW) -> FleetReading:
    """Two gateways read every 5 s, the right one up to a moment; what can be read is told too."""
    seen = [
        replace(timed(at, 1, 0, 0), gateway=name)
        for at in _every(began + 5.0, until, 5.0)
        for name in ("left", "right")
        if name == "left" or at <= right_until
    ]
    dead = Missing("connection refused")
    live = {"left": Known(value=True, observed_at=until), "right": Known(value=True, observed_at=until)}
    gateways = live if right_until >= until else live | {"right": dead}
    return FleetReading(until, {}, {"a": tuple(seen)}, {}, dead, gateways)


def measured(closed: Closed) -> list[float]:
    return [piece.measured_s for piece in closed.slices]


def test_of_two_gateways_one_that_dies_takes_half_of_the_measured_time_also_over_a_restart() -> None:
    writer = a_writer()
    assert measured(writer.close(GATES, through(NOW + 20, NOW + 20), NOW + 20)) == [10.0]
    reading = through(NOW + 50, NOW + 20)
    assert measured(writer.close(GATES, reading, NOW + 50)) == [10.0, 5.0, 5.0]
    kept = UNCLOSED.load(UNCLOSED.dump(writer.unclosed(GATES, reading)))
    later = SliceWriter(Grace(5.0, 5.0))
    later.begin(NOW + 50, kept)
    reading = through(NOW + 80, NOW + 20, began=NOW + 45)
    assert measured(later.close(GATES, reading, NOW + 80)) == [5.0, 5.0, 5.0]
    one = replace(GATES, gateways=GATES.gateways[:1])
    assert measured(later.close(one, through(NOW + 90, NOW + 20, began=NOW + 45), NOW + 90)) == [10.0], "it was let go"


def test_a_gateway_that_is_read_and_counts_none_of_a_model_is_not_waited_for() -> None:
    writer = a_writer()
    writer.close(GATES, through(NOW + 20, NOW + 20), NOW + 20)
    kept = writer.unclosed(GATES, through(NOW + 20, NOW + 20))
    later = SliceWriter(Grace(5.0, 5.0))
    later.begin(NOW + 600, kept)
    for until in (NOW + 620, NOW + 640):
        live = dict.fromkeys(("left", "right"), Known(value=True, observed_at=until))
        without = replace(through(until, NOW, began=NOW + 600), gateways=live)
        closed = later.close(GATES, without, until)
        later.unclosed(GATES, without)
    assert measured(closed) == [10.0, 10.0]

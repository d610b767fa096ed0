"""Histograms by the minute: nothing lost, nothing twice, and judged again as if it had been asked at first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.history import BucketRow, SketchRow
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.observation import LatencyInterval, ProbeResult
from controlplane.slo.by_histogram import split
from controlplane.slo.minutes import close_minutes, judged_again

SHAPES = ((0.1, 0.5), (0.2,), ())
ends = st.floats(0, 299.999)


@st.composite
def latencies(draw: st.DrawFn) -> LatencyInterval:
    edges, end = draw(st.sampled_from(SHAPES)), draw(ends)
    counts = tuple(draw(st.integers(0, 5)) for _ in range(len(edges) + 1))
    return LatencyInterval(
        draw(st.sampled_from((Indicator.TTFT, Indicator.LATENCY))),
        max(0.0, end - 5),
        end,
        edges,
        counts,
        draw(st.integers(0, 2)),
        gateway=draw(st.sampled_from(("", "envoy"))),
    )


probes = st.builds(ProbeResult, ends, st.just("t"), st.floats(1e-3, 10), st.sampled_from(("", "HTTP 500")))


def total(rows: list[BucketRow | SketchRow], objective: Objective) -> Counts:
    return sum((judged_again(row, objective) for row in rows), Counts())


@given(st.lists(latencies(), max_size=30), st.floats(0.01, 1))
def test_every_event_is_in_the_minute_of_its_intervals_end_and_judged_by_any_threshold(
    read: list[LatencyInterval], threshold_s: float
) -> None:
    rows = close_minutes("m", read, (), since=0, until=300)
    assert len({(r.start, r.indicator, r.gateway, r.edges) for r in rows if isinstance(r, BucketRow)}) == len(rows)
    objective = Objective(Indicator.TTFT, 0.99, 86400.0, IndicatorSource.SERVER, threshold_s)
    for start in range(0, 300, 60):
        inside = [i for i in read if start <= i.end < start + 60]
        expected = sum((Counts(*split(i.edges, i.counts, threshold_s)) for i in inside), Counts())
        kept = [row for row in rows if row.start == start]
        assert total(kept, objective) == expected
        assert sum(row.errors for row in kept) == sum(i.errors for i in inside)


@given(st.lists(latencies(), max_size=20), st.lists(probes, max_size=20), st.integers(1, 4))
def test_cutting_the_time_into_parts_gives_the_same_rows(
    read: list[LatencyInterval], timed: list[ProbeResult], minutes: int
) -> None:
    cut = 60.0 * minutes
    parts = [close_minutes("m", read, timed, since=a, until=b) for a, b in ((0.0, cut), (cut, 300.0))]
    whole = close_minutes("m", read, timed, since=0, until=300)
    assert sorted((*parts[0], *parts[1]), key=repr) == sorted(whole, key=repr)


@given(st.lists(probes, max_size=40), st.floats(1e-3, 10))
def test_probes_judged_again_are_right_but_for_those_within_the_error_of_the_threshold(
    timed: list[ProbeResult], threshold_s: float
) -> None:
    objective = Objective(Indicator.LATENCY, 0.99, 86400.0, IndicatorSource.PROBE, threshold_s)
    found = total(list(close_minutes("m", (), timed, since=0, until=300)), objective)
    good = sum(not p.error and p.latency_s <= threshold_s for p in timed)
    assert found.events == len(timed)
    assert found.good <= good <= found.good + found.unsure


def test_no_traffic_leaves_no_row() -> None:
    idle = LatencyInterval(Indicator.TTFT, 0, 5, (0.1,), (0, 0))
    assert close_minutes("m", (idle,), (), since=0, until=60) == ()

"""Which bad events capacity explains: those of a backlog, never those of a bad release or a dead stub."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.fleet import Mode, ModelSpec, ProbeSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import Interval, LatencyInterval, ProbeResult
from controlplane.slo.indicators import close_slices
from controlplane.slo.pressure import Spans

SERVER = Objective(Indicator.AVAILABILITY, 0.999, 86400, IndicatorSource.SERVER)
GATEWAY = Objective(Indicator.AVAILABILITY, 0.999, 86400, IndicatorSource.GATEWAY)
LATENCY = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.GATEWAY, 0.1)
PROBE = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.PROBE, 0.1)
MEAN = Objective(Indicator.LATENCY, 0.95, 86400, IndicatorSource.MEAN_SLICES, 0.1)
MODEL = ModelSpec(
    "m", "m", ("t0",), Mode.ACT, (SERVER, GATEWAY, LATENCY, PROBE, MEAN), probe=ProbeSpec(every_s=30.0, timeout_s=5.0)
)
WELL = Interval(
    start=0, end=9, completed=100, failed=0, failed_backend=0, rejected=0, canceled=0,
    request_s=20.0, queue_s=1.0, pending_start=0, pending_end=0, running_max=8, instances=1,
)  # fmt: skip
QUEUED = replace(WELL, queue_s=15.0, pending_end=40)
LATE = LatencyInterval(Indicator.LATENCY, 0.0, 9.0, (0.1,), (70, 30))


def explained(
    seen: Interval, latency: LatencyInterval = LATE, *probes: ProbeResult, strained: Spans = ()
) -> dict[Objective, tuple[int, int]]:
    """(bad, of these explained) of one slice, by objective."""
    found = close_slices(MODEL, [("t0", (seen,))], [latency], probes, since=0, until=10, strained=strained)
    return {o: (s.bad, s.bad_capacity) for o, s in zip(MODEL.objectives, found, strict=True)}


def test_what_was_late_while_requests_waited_is_explained() -> None:
    by = explained(QUEUED, LATE, ProbeResult(5.0, "t0", 0.4))
    assert (by[LATENCY], by[PROBE], by[MEAN]) == ((30, 30), (1, 1), (1, 1))


def test_what_was_late_while_nothing_waited_is_a_bad_release() -> None:
    by = explained(WELL, LATE, ProbeResult(5.0, "t0", 0.4))
    assert (by[LATENCY], by[PROBE], by[MEAN]) == ((30, 0), (1, 0), (1, 0))


def test_it_is_explained_where_decisions_saw_demand_near_capacity() -> None:
    assert explained(WELL, strained=[(9.0, 30.0)])[LATENCY] == (30, 30)
    assert explained(WELL, strained=[(10.0, 30.0)])[LATENCY] == (30, 0)


def test_requests_rejected_after_queueing_are_explained_always() -> None:
    assert explained(replace(WELL, rejected=7))[SERVER] == (7, 7)


def test_failures_in_a_backend_are_explained_never() -> None:
    by = explained(replace(QUEUED, failed=5, failed_backend=5, rejected=2), replace(LATE, errors=9))
    assert by[SERVER] == (7, 2)
    assert by[GATEWAY] == (9, 4), "what the server says failed in its backend is taken off"


def test_a_dead_stub_explains_nothing_though_requests_wait_behind_it() -> None:
    dead = replace(WELL, failed=12, failed_backend=12, completed=12, request_s=0.0, queue_s=0.0, pending_end=80)
    by = explained(dead, LatencyInterval(Indicator.LATENCY, 0.0, 9.0, (0.1,), (0, 0), errors=12))
    assert [part[1] for part in by.values()] == [0] * len(by)
    assert by[SERVER] == by[GATEWAY] == (12, 0)


def test_a_probe_that_an_overloaded_server_did_not_answer_is_explained_and_one_of_a_failing_backend_is_not() -> None:
    silent = ProbeResult(5.0, "t0", 5.0, "timed out")
    assert explained(QUEUED, LATE, silent)[PROBE] == (1, 1)
    assert explained(replace(QUEUED, failed=3, failed_backend=3), LATE, silent)[PROBE] == (1, 0)

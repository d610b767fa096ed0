from dataclasses import replace

import pytest

from controlplane.domain.fleet import Mode, ModelSpec, ProbeSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.observation import Interval, LatencyInterval, ProbeResult
from controlplane.slo.by_histogram import split
from controlplane.slo.indicators import close_slices

AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.999, 86400, IndicatorSource.SERVER)
GATEWAY_AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.999, 86400, IndicatorSource.GATEWAY)
GATEWAY_LATENCY = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.GATEWAY, 0.1)
PROBE_LATENCY = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.PROBE, 0.1)
MEAN_SLICES = Objective(Indicator.LATENCY, 0.95, 86400, IndicatorSource.MEAN_SLICES, 0.1)
TTFT = Objective(Indicator.TTFT, 0.99, 86400, IndicatorSource.SERVER, 0.1)


def model(*objectives: Objective) -> ModelSpec:
    probe = ProbeSpec(every_s=30.0, timeout_s=5.0)
    return ModelSpec("bert", "bert", ("t0", "t1"), Mode.RECOMMEND, objectives, probe=probe)


def interval(
    start: float,
    end: float,
    completed: int = 0,
    *,
    failed: int = 0,
    rejected: int = 0,
    canceled: int = 0,
    request_s: float = 0.0,
    probes: int = 0,
) -> Interval:
    return Interval(
        start=start,
        end=end,
        completed=completed,
        failed=failed,
        failed_backend=0,
        rejected=rejected,
        canceled=canceled,
        request_s=request_s,
        queue_s=0.0,
        pending_start=0,
        pending_end=0,
        running_max=1,
        instances=1,
        probes=probes,
    )


def histogram(
    start: float, end: float, counts: tuple[int, ...], *, errors: int = 0, indicator: Indicator = Indicator.LATENCY
) -> LatencyInterval:
    return LatencyInterval(indicator, start, end, (0.05, 0.1, 0.2), counts, errors)


def events(part: Slice) -> tuple[int, int, int]:
    return part.good, part.bad, part.unsure


def test_failed_and_rejected_are_bad_and_canceled_are_no_events() -> None:
    seen = interval(0, 10, 100, failed=3, rejected=2, canceled=5)
    (part,) = close_slices(model(AVAILABILITY), [("t0", (seen,))], (), (), since=10, until=20)
    assert events(part) == (90, 5, 0)


def test_counts_stand_in_the_slice_of_the_end_and_measured_time_where_it_was() -> None:
    seen = (interval(4, 13, 9),)
    first, second = close_slices(model(AVAILABILITY), [("t0", seen)], (), (), since=0, until=20)
    assert [events(first), events(second)] == [(0, 0, 0), (9, 0, 0)]
    assert [first.measured_s, second.measured_s] == [6.0, 3.0]
    assert {first.expected_s, second.expected_s} == {10.0}


def test_measured_time_is_the_mean_of_the_servers_and_one_unread_halves_it() -> None:
    servers = [("t0", (interval(0, 10, 5),)), ("t1", ())]
    (part,) = close_slices(model(AVAILABILITY), servers, (), (), since=0, until=10)
    assert part.measured_s == 5.0


def test_a_slice_without_readings_is_there_and_unmeasured() -> None:
    parts = close_slices(model(AVAILABILITY), [("t0", ())], (), (), since=0, until=30)
    assert [(p.start, events(p), p.measured_s) for p in parts] == [(s, (0, 0, 0), 0.0) for s in (0, 10, 20)]


def test_each_objective_has_its_own_slices_and_version() -> None:
    parts = close_slices(model(AVAILABILITY, MEAN_SLICES), [("t0", ())], (), (), since=0, until=20)
    assert [p.objective for p in parts] == [AVAILABILITY.key] * 2 + [MEAN_SLICES.key] * 2
    assert {p.slo_version for p in parts} == {AVAILABILITY.version, MEAN_SLICES.version}


def test_our_own_probes_are_no_users_whether_they_succeed_or_fail() -> None:
    seen = interval(0, 9, 12, failed=2, probes=3)
    probes = [ProbeResult(2, "t0", 0.01), ProbeResult(4, "t0", 0.01), ProbeResult(6, "t0", 0.01, "stub is dead")]
    (part,) = close_slices(model(AVAILABILITY), [("t0", (seen,))], (), probes, since=0, until=10)
    assert events(part) == (8, 1, 0)


def test_a_probe_recorded_in_the_next_interval_makes_no_negative_count() -> None:
    seen = interval(0, 9, 1, probes=1)
    (part,) = close_slices(
        model(AVAILABILITY), [("t0", (seen,))], (), [ProbeResult(9.1, "t0", 0.01)], since=0, until=10
    )
    assert events(part) == (0, 0, 0)


def test_a_probe_whose_result_is_timed_elsewhere_hides_no_users_failure() -> None:
    seen = interval(0, 9, 5, failed=1, probes=1)
    (part,) = close_slices(
        model(AVAILABILITY), [("t0", (seen,))], (), [ProbeResult(9.1, "t0", 0.01)], since=0, until=10
    )
    assert events(part) == (3, 1, 0)


def test_availability_from_a_gateway_takes_its_errors() -> None:
    seen = histogram(0, 9, (5, 0, 0, 1), errors=2)
    (part,) = close_slices(model(GATEWAY_AVAILABILITY), [("t0", ())], (seen,), (), since=0, until=10)
    assert events(part) == (6, 2, 0)
    assert part.measured_s == 9.0


def test_two_gateways_over_the_same_time_measure_it_once() -> None:
    seen = (histogram(0, 9, (1, 0, 0, 0)), histogram(5, 9, (1, 0, 0, 0)))
    (part,) = close_slices(model(GATEWAY_LATENCY), [("t0", ())], seen, (), since=0, until=10)
    assert (part.good, part.measured_s) == (2, 9.0)


def test_a_gateway_of_two_that_is_not_read_is_missing_from_the_measured_time() -> None:
    both = [replace(histogram(s, s + 10, (1, 0, 0, 0)), gateway=name) for s in (0, 10) for name in ("left", "right")]
    alone = [replace(histogram(20, 30, (1, 0, 0, 0)), gateway="left")]
    counting = {"left": 0.0, "right": 0.0}
    for objective in (GATEWAY_LATENCY, GATEWAY_AVAILABILITY):
        parts = close_slices(model(objective), [], both + alone, (), since=0, until=30, gateways=counting)
        assert [(part.good, part.measured_s) for part in parts] == [(0, 10.0), (2, 10.0), (2, 5.0)]
        named = replace(objective, gateway="left")
        parts = close_slices(model(named), [], both + alone, (), since=0, until=30, gateways=counting)
        assert [part.measured_s for part in parts] == [10.0] * 3, "the one that it names was read all the time"


def test_a_gateway_is_expected_from_its_first_request_on() -> None:
    seen = [replace(histogram(s, s + 10, (1, 0, 0, 0)), gateway="left") for s in (0, 10, 20)]
    parts = close_slices(model(GATEWAY_LATENCY), [], seen, (), since=0, until=30, gateways={"left": 0.0, "right": 20.0})
    assert [part.measured_s for part in parts] == [10.0, 10.0, 5.0]


def test_errors_are_no_latency_events() -> None:
    (part,) = close_slices(
        model(GATEWAY_LATENCY), [("t0", ())], (histogram(0, 9, (1, 2, 3, 4), errors=50),), (), since=0, until=10
    )
    assert events(part) == (3, 7, 0)


def test_an_indicator_takes_only_its_own_histogram() -> None:
    seen = (histogram(0, 9, (1, 0, 0, 0), indicator=Indicator.TTFT), histogram(0, 9, (0, 0, 7, 0)))
    (part,) = close_slices(model(TTFT), [("v0", ())], seen, (), since=0, until=10)
    assert events(part) == (1, 0, 0)


def test_histograms_of_one_of_two_servers_cover_half() -> None:
    seen = (histogram(0, 10, (1, 0, 0, 0), indicator=Indicator.TTFT),)
    (part,) = close_slices(model(TTFT), [("v0", ()), ("v1", ())], seen, (), since=0, until=10)
    assert part.measured_s == 5.0


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.1, (3, 7, 0)),
        (0.07, (1, 7, 2)),
        (0.01, (0, 9, 1)),
        (0.2, (6, 4, 0)),
        (0.3, (6, 0, 4)),
        (0.30000000000000004 - 0.1, (6, 4, 0)),
    ],
)
def test_the_bucket_that_the_threshold_cuts_is_unsure(threshold: float, expected: tuple[int, int, int]) -> None:
    assert split((0.05, 0.1, 0.2), (1, 2, 3, 4), threshold) == expected


def test_a_histogram_without_finite_edges_tells_nothing() -> None:
    assert split((), (4,), 0.1) == (0, 0, 4)


def test_a_slow_and_a_failed_probe_are_bad_and_each_covers_until_the_next() -> None:
    probes = [ProbeResult(5, "t0", 0.1), ProbeResult(35, "t0", 0.2), ProbeResult(65, "t0", 0.0, "refused")]
    parts = close_slices(model(PROBE_LATENCY), [("t0", ())], (), probes, since=0, until=70)
    assert [events(p) for p in parts if any(events(p))] == [(1, 0, 0), (0, 1, 0), (0, 1, 0)]
    assert [p.measured_s for p in parts] == [5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]


def test_probes_that_stopped_measure_nothing_after_the_next_was_due() -> None:
    parts = close_slices(model(PROBE_LATENCY), [("t0", ())], (), [ProbeResult(0, "t0", 0.01)], since=0, until=50)
    assert [p.measured_s for p in parts] == [10.0, 10.0, 10.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("indicator", "expected"), [(Indicator.TTFT, (1, 1, 0)), (Indicator.E2E, (0, 3, 0)), (Indicator.LATENCY, (0, 3, 0))]
)
def test_a_probe_counts_by_the_time_that_the_indicator_names(
    indicator: Indicator, expected: tuple[int, int, int]
) -> None:
    objective = Objective(indicator, 0.99, 86400, IndicatorSource.PROBE, 0.1)
    # the one that was not streamed has no first token, and so is no event of it
    probes = [ProbeResult(1, "t0", 0.5, "", 0.05), ProbeResult(2, "t0", 0.5), ProbeResult(3, "t0", 0.5, "HTTP 500")]
    (part,) = close_slices(model(objective), [("t0", ())], (), probes, since=0, until=10)
    assert events(part) == expected


def test_a_probe_that_was_given_up_is_canceled_for_the_server_and_takes_no_good_request_away() -> None:
    seen = interval(0, 9, 6, canceled=1, probes=1)
    given_up = [ProbeResult(5, "t0", 5.0, "no answer within 5 s")]
    (part,) = close_slices(model(AVAILABILITY), [("t0", (seen,))], (), given_up, since=0, until=10)
    assert events(part) == (5, 0, 0)


def test_a_mean_slice_is_one_event_over_all_servers() -> None:
    servers = [("t0", (interval(0, 9, 9, request_s=0.5),)), ("t1", (interval(0, 9, 1, request_s=0.6),))]
    (bad,) = close_slices(model(MEAN_SLICES), servers, (), (), since=0, until=10)
    assert events(bad) == (0, 1, 0)
    (good,) = close_slices(model(MEAN_SLICES), servers[:1], (), (), since=0, until=10)
    assert events(good) == (1, 0, 0)


def test_a_mean_slice_of_probes_or_failures_alone_is_no_event() -> None:
    servers = [("t0", (interval(0, 9, 3, failed=1, request_s=9.0, probes=2),))]
    (part,) = close_slices(model(MEAN_SLICES), servers, (), (), since=0, until=10)
    assert events(part) == (0, 0, 0)


def test_failures_do_not_make_a_mean_look_better() -> None:
    servers = [("t0", (interval(0, 9, 10, failed=9, request_s=0.5),))]
    (part,) = close_slices(model(MEAN_SLICES), servers, (), (), since=0, until=10)
    assert events(part) == (0, 1, 0)


def test_a_cut_of_time_inside_a_slice_is_refused() -> None:
    with pytest.raises(ValueError, match="whole slices"):
        close_slices(model(AVAILABILITY), [], (), (), since=0, until=15)

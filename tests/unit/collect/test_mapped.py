from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from controlplane.collect.mapped import MappedServer
from controlplane.collect.servers import scraped
from controlplane.config.mapping_file import parse_mapping, shipped
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.mapping import PageMapping
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.signal import Known, Missing
from tests.unit.collect.pages import absorb, histogram_page, recorded

TTFT, ITL, E2E, QUEUE = Indicator.TTFT, Indicator.INTER_TOKEN_LATENCY, Indicator.E2E, Indicator.QUEUE_TIME
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


class Case(NamedTuple):
    """What the documented page of a kind says of a model, read after one with zeros."""

    kind: ServerKind
    model: str
    gauges: tuple[int | None, int | None, float | None]
    requests: tuple[int, int, int, int]
    times_s: tuple[float, float]
    counts: dict[Indicator, int]


CASES = [
    Case(ServerKind.TGI, "any", (4, 2, None), (47, 2, 3, 2), (61.5, 2.25), {ITL: 40, E2E: 40, QUEUE: 40}),
    Case(ServerKind.TFSERVING, "half_plus_two", (None, None, None), (14, 1, 3, 0), (0.0144, 0), {E2E: 10}),
    Case(ServerKind.SGLANG, LLAMA, (5, 16, 0.28), (24, 0, 0, 0), (48, 1.5), {TTFT: 40, ITL: 2000, E2E: 24, QUEUE: 40}),
    Case(
        ServerKind.NIM,
        "meta/llama-3.1-8b-instruct",
        (1, 3, 0.125),
        (9, 1, 0, 0),
        (7.5, 0),
        {TTFT: 10, ITL: 490, E2E: 8},
    ),
]


def server(mapping: PageMapping | None, *names: str, kind: ServerKind = ServerKind.MAPPED) -> MappedServer:
    models = [ModelSpec(name, name, ("s",), Mode.OBSERVE) for name in names]
    spec = ServerSpec("s", kind, "", "", mapping=mapping)
    return MappedServer(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)


def mine(text: str) -> PageMapping:
    mapping, faults = parse_mapping(f"sources: test\n{text}", "mine", "")
    assert not faults
    assert mapping is not None
    return mapping


def model(of: MappedServer, now: float, name: str) -> ModelReading:
    signal = of.reading(now).models[name]
    assert isinstance(signal, Known)
    return signal.value


def zeros(page: str) -> str:
    """The page of the same server before its first request."""
    return re.sub(r"^([^#\n].*) \S+$", r"\1 0", page, flags=re.MULTILINE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.value)
def test_the_documented_page_gives_every_signal_of_the_mapping(case: Case) -> None:
    page = recorded(f"{case.kind.value}-documented.txt")
    one = server(shipped(case.kind), case.model)
    absorb(one, 5, zeros(page))
    absorb(one, 15, page)
    reading = model(one, 15, case.model)
    assert (reading.state, reading.instances) == (ModelState.READY, Known(1, 15))
    for signal, value in zip((reading.pending, reading.running, reading.kv_cache_usage), case.gauges, strict=True):
        assert signal == (Missing("not exported") if value is None else Known(value, 15))
    (interval,) = reading.intervals
    assert (interval.start, interval.end) == (5, 15)
    assert (interval.completed, interval.failed, interval.rejected, interval.canceled) == case.requests
    assert (interval.request_s, interval.queue_s) == pytest.approx(case.times_s)
    assert {found.indicator: sum(found.counts) for found in one.latencies()[case.model]} == case.counts


def test_every_histogram_of_a_shipped_mapping_but_those_a_page_lacks_is_on_its_documented_page() -> None:
    absent = {case.kind: set(dict(m.histograms)) - set(case.counts) for case in CASES if (m := shipped(case.kind))}
    assert {kind: missing for kind, missing in absent.items() if missing} == {ServerKind.NIM: {QUEUE}}


def test_the_recorded_torchserve_counts_requests_on_arrival_and_their_time_in_microseconds() -> None:
    one = server(shipped(ServerKind.TORCHSERVE), "echo", "broken")
    absorb(one, 5, recorded("torchserve-0.12.0-after-5-requests.txt"))
    absorb(one, 10, recorded("torchserve-0.12.0-after-27-requests.txt"))
    (echo,) = model(one, 10, "echo").intervals
    assert echo.completed == 20
    assert echo.request_s == pytest.approx(5.416152, abs=1e-6)
    assert echo.queue_s == pytest.approx(4.925438, abs=1e-6)
    (broken,) = model(one, 10, "broken").intervals
    assert (broken.start, broken.completed, broken.failed) == (5, 2, 0)


def test_a_model_that_its_server_names_from_the_first_request_on_is_missing_until_then() -> None:
    one = server(shipped(ServerKind.TORCHSERVE), "broken")
    absorb(one, 5, recorded("torchserve-0.12.0-after-5-requests.txt"))
    assert one.reading(5).live == Known(value=True, observed_at=5)
    assert one.reading(5).models["broken"] == Missing("its metrics page has no series of broken (yet)")


def test_edges_in_microseconds_become_seconds_without_noise() -> None:
    one = server(shipped(ServerKind.TFSERVING), "half_plus_two")
    page = recorded("tfserving-documented.txt")
    absorb(one, 5, zeros(page))
    absorb(one, 10, page)
    (latency,) = one.latencies()["half_plus_two"]
    assert latency.edges[:4] == (0.00001, 0.000018, 0.0000324, 0.00005832)


def test_names_of_other_versions_are_tried_in_order() -> None:
    old = recorded("sglang-documented.txt").replace("inter_token_latency", "time_per_output_token")
    one = server(shipped(ServerKind.SGLANG), LLAMA)
    absorb(one, 5, zeros(old))
    absorb(one, 10, old)
    assert {found.indicator for found in one.latencies()[LLAMA]} == {TTFT, ITL, E2E, QUEUE}
    nim = server(shipped(ServerKind.NIM), "tiny")
    absorb(nim, 5, recorded("vllm-0.32.0-under-load.txt"))
    assert model(nim, 5, "tiny").running == Known(23, 5)


def test_a_failed_request_is_told_apart_from_an_answered_one_of_the_same_counter() -> None:
    one = server(
        mine("requests: {success: {metric: r, where: {c: '2..'}}, failed: {metric: r, where: {c: '5..'}}}"), "m"
    )
    absorb(one, 5, 'r{c="200"} 1\nr{c="404"} 1\nr{c="500"} 1\n')
    absorb(one, 10, 'r{c="200"} 4\nr{c="404"} 9\nr{c="500"} 2\nr{c="503"} 1\n')
    (interval,) = model(one, 10, "m").intervals
    assert (interval.completed, interval.failed) == (5, 2)


def test_a_model_of_which_every_request_fails_is_measured() -> None:
    one = server(
        mine("requests: {success: {metric: r, where: {c: '2..'}}, failed: {metric: r, where: {c: '5..'}}}"), "m"
    )
    absorb(one, 5, 'r{c="500"} 1\n')
    absorb(one, 10, 'r{c="500"} 20\n')
    absorb(one, 15, 'r{c="500"} 30\nr{c="200"} 1\n')
    intervals = model(one, 15, "m").intervals
    assert [(i.completed, i.failed) for i in intervals] == [(19, 19), (11, 10)]


def test_a_restart_begins_counting_anew() -> None:
    one = server(mine("requests: {success: r}"), "m")
    absorb(one, 5, "r 100\n")
    one.missed(10, TargetUnreachableError("s", "connection refused"))
    absorb(one, 15, "r 3\n")
    (interval,) = model(one, 15, "m").intervals
    assert (interval.start, interval.completed, one.reading(15).incarnation) == (10, 3, 1)


def test_a_gauge_of_the_mapping_that_is_not_on_the_page_is_missing_and_no_interval_is_claimed() -> None:
    one = server(mine("gauges: {pending: q}\nrequests: {success: r}"), "m")
    absorb(one, 5, "r 1\n")
    absorb(one, 10, "r 2\n")
    assert model(one, 10, "m").pending == Missing("not exported")
    assert model(one, 10, "m").intervals == ()


def test_counters_that_are_no_number_claim_no_interval() -> None:
    one = server(mine("requests: {success: r}"), "m")
    absorb(one, 5, "r 1\n")
    absorb(one, 10, "r NaN\n")
    assert model(one, 10, "m").intervals == ()


def test_milliseconds_are_understood() -> None:
    one = server(mine("model_label: m\nhistograms: {e2e: {metric: d, unit: ms}}"), "a")
    absorb(one, 5, histogram_page("d", {"100": 0, "+Inf": 0}, m="a"))
    absorb(one, 10, histogram_page("d", {"100": 2, "+Inf": 3}, m="a"))
    (latency,) = one.latencies()["a"]
    assert (latency.edges, latency.counts) == ((0.1,), (2, 1))


def test_the_page_of_another_software_is_refused_and_an_idle_one_is_not() -> None:
    one = server(shipped(ServerKind.SGLANG), "m")
    with pytest.raises(MalformedPageError, match="not a page of sglang"):
        absorb(one, 5, recorded("vllm-0.32.0-under-load.txt"))
    absorb(one, 5, "# TYPE sglang:num_requests_total counter\n")
    assert isinstance(one.reading(5).models["m"], Missing)

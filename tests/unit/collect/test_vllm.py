from __future__ import annotations

import pytest

from controlplane.collect.servers import scraped
from controlplane.collect.vllm.server import ASLEEP, VllmServer
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.lora import Lora
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import ModelReading, ModelState, SleepState
from controlplane.domain.signal import Known, Missing, Stale
from tests.unit.collect.pages import absorb, recorded

EARLIER, LATER = recorded("vllm-0.32.0-after-40-requests.txt"), recorded("vllm-0.32.0-under-load.txt")


def server() -> VllmServer:
    spec = ServerSpec("v", ServerKind.VLLM, "", "")
    models = [ModelSpec(name, served, ("v",), Mode.ACT) for name, served in (("llm", "tiny"), ("other", "big"))]
    return VllmServer(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)


def model(vllm: VllmServer, now: float, name: str = "llm") -> ModelReading:
    signal = vllm.reading(now).models[name]
    assert isinstance(signal, Known)
    return signal.value


def finished(page: str, reason: str, count: int) -> str:
    """The page with another number of requests that finished so."""
    start = f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="tiny"}} '
    assert start in page
    return "\n".join(f"{start}{count}" if line.startswith(start) else line for line in page.split("\n"))


def first_tokens(page: str, count: int) -> str:
    """The page with another number of requests that got a first token, none of them late."""
    start = "vllm:time_to_first_token_seconds_bucket{"
    assert start in page
    return "\n".join(
        f"{line.rpartition(' ')[0]} {count}" if line.startswith(start) else line for line in page.split("\n")
    )


def test_the_recorded_page_under_load_is_read_by_its_served_name() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    reading = model(vllm, 6)
    assert (reading.state, reading.instances) == (ModelState.READY, Known(1, 5))
    assert (reading.pending, reading.running) == (Known(0, 5), Known(23, 5))
    assert reading.kv_cache_usage == Known(0.004517152972774996, 5)
    assert model(vllm, 6, "other").state is ModelState.ABSENT


def test_between_the_recorded_pages_requests_and_latencies_are_counted() -> None:
    vllm = server()
    absorb(vllm, 5, EARLIER)
    absorb(vllm, 25, LATER)
    (interval,) = model(vllm, 25).intervals
    assert (interval.start, interval.end, interval.completed) == (5, 25, 0)
    assert (interval.running_start, interval.running_end, interval.running_max) == (0, 23, None)
    latencies = {latency.indicator: latency for latency in vllm.latencies()["llm"]}
    assert latencies.keys() == {
        Indicator.TTFT,
        Indicator.INTER_TOKEN_LATENCY,
        Indicator.E2E,
        Indicator.QUEUE_TIME,
    }
    assert sum(latencies[Indicator.TTFT].counts) == 23
    assert sum(latencies[Indicator.E2E].counts) == 0
    assert latencies[Indicator.TTFT].edges[:3] == (0.001, 0.005, 0.01)
    assert len(latencies[Indicator.TTFT].counts) == len(latencies[Indicator.TTFT].edges) + 1


def test_requests_are_counted_by_how_they_finished() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    absorb(vllm, 10, finished(finished(finished(LATER, "stop", 10), "error", 1), "abort", 3))
    (interval,) = model(vllm, 10).intervals
    assert (interval.completed, interval.failed, interval.canceled) == (6, 1, 3)


def test_old_metric_names_are_understood() -> None:
    old = LATER.replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc").replace(
        "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"
    )
    vllm = server()
    absorb(vllm, 5, old)
    absorb(vllm, 10, old)
    assert isinstance(model(vllm, 10).kv_cache_usage, Known)
    assert any(latency.indicator is Indicator.INTER_TOKEN_LATENCY for latency in vllm.latencies()["llm"])


def test_a_sleeping_engine_is_unavailable() -> None:
    vllm = server()
    absorb(vllm, 5, LATER.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0'))
    assert (model(vllm, 5).state, model(vllm, 5).reason) == (ModelState.UNAVAILABLE, ASLEEP)


def test_what_is_not_exported_or_no_number_is_missing_and_not_zero() -> None:
    vllm = server()
    page = LATER.replace("vllm:num_requests_waiting{", "vllm:renamed{").replace(
        'vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.004517152972774996',
        'vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} NaN',
    )
    absorb(vllm, 5, page)
    absorb(vllm, 10, page)
    reading = model(vllm, 10)
    assert (reading.pending, reading.kv_cache_usage) == (Missing("not exported"), Missing("not exported"))
    assert reading.running == Known(23, 10)
    assert reading.intervals == ()


def test_clients_that_went_away_after_the_first_token_are_counted_as_canceled_though_vllm_counts_them_nowhere() -> None:
    vllm = server()
    for at, count in ((5, 67), (10, 69), (15, 71)):
        absorb(vllm, at, first_tokens(LATER, count))
    before, after = model(vllm, 15).intervals
    assert (before.completed, before.canceled, after.canceled) == (2, 2, 2)


def test_a_router_page_is_not_taken_for_an_engine() -> None:
    with pytest.raises(MalformedPageError, match="not a vLLM engine"):
        absorb(server(), 5, 'vllm:num_requests_running{server="http://10.0.0.1:8000"} 3\n')


def test_a_restart_begins_counting_anew_and_forgets_the_control_mode() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    vllm.missed(10, TargetUnreachableError("v", "connection refused"))
    absorb(vllm, 15, first_tokens(finished(finished(LATER, "stop", 0), "length", 3), 26))
    (interval,) = model(vllm, 15).intervals
    assert (interval.start, interval.end, interval.completed) == (10, 15, 3)
    assert vllm.reading(15).incarnation == 1


def test_a_vllm_that_stops_answering_goes_stale() -> None:
    vllm = server()
    absorb(vllm, 5, LATER)
    vllm.missed(25, TargetUnreachableError("v", "connection refused"))
    reading = vllm.reading(25)
    assert reading.live == Known(value=False, observed_at=25)
    assert reading.problem == "v: connection refused"
    assert isinstance(reading.models["llm"], Stale)
    assert reading.models["llm"].why == "v: connection refused"


def adapted(listed: dict[str, str] | Missing) -> VllmServer:
    """With an adapter `sql` of the model, whose path is to be /a, and the list of them as it was read."""
    spec = ServerSpec("v", ServerKind.VLLM, "", "")
    base = ModelSpec("llm", "tiny", ("v",), Mode.ACT)
    models = [base, ModelSpec("sql", "sql", ("v",), Mode.ACT, lora=Lora("/a", "llm"))]
    vllm = VllmServer(spec, models, scraped(spec, models), max_age_s=15, keep_s=900)
    vllm._listed = listed
    return vllm


@pytest.mark.parametrize(
    ("listed", "state", "outdated"),
    [
        ({"sql": "/a"}, ModelState.READY, ""),
        ({"sql": "/b"}, ModelState.READY, "/b"),
        ({"other": "/a"}, ModelState.UNLOADED, ""),
        ({}, ModelState.UNLOADED, ""),
    ],
    ids=str,
)
def test_an_adapter_is_there_when_the_list_has_it(listed: dict[str, str], state: ModelState, outdated: str) -> None:
    vllm = adapted(listed)
    absorb(vllm, 5, LATER)
    reading = model(vllm, 6, "sql")
    assert (reading.state, reading.outdated) == (state, outdated)
    assert vllm.ready("sql") is (state is ModelState.READY)


def test_what_an_adapter_does_is_missing_and_is_not_what_its_base_does() -> None:
    vllm = adapted({"sql": "/a"})
    absorb(vllm, 5, EARLIER)
    absorb(vllm, 25, LATER)
    reading = model(vllm, 25, "sql")
    assert model(vllm, 25).running == Known(23, 25)
    for signal in (reading.running, reading.pending, reading.counters, reading.kv_cache_usage, reading.refused):
        assert signal == Missing("vLLM counts the requests of an adapter as those of its base model")
    assert reading.intervals == ()
    assert not list(vllm.latencies()["sql"])


def test_an_adapter_sleeps_with_its_base_and_is_not_probed() -> None:
    vllm = adapted({"sql": "/a"})
    asleep = LATER.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    absorb(vllm, 5, asleep.replace('sleep_state="weights_offloaded"} 0.0', 'sleep_state="weights_offloaded"} 1.0'))
    reading = model(vllm, 6, "sql")
    assert (reading.state, reading.reason) == (ModelState.UNAVAILABLE, ASLEEP)
    assert reading.sleep == Known(SleepState.WEIGHTS_OFFLOADED, 5)
    assert not vllm.ready("sql")


def test_where_the_list_cannot_be_read_an_adapter_is_not_known() -> None:
    vllm = adapted(Missing("adapters are not known: HTTP 401"))
    absorb(vllm, 5, LATER)
    assert vllm.reading(6).models["sql"] == Missing("adapters are not known: HTTP 401")

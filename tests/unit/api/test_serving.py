"""How a model is served, as the API shows it: figures over the last minute, and why one is not known."""

from __future__ import annotations

import httpx
import pytest

from controlplane.api.views.serving import ServingView
from controlplane.collect.triton.detail import REFUSED
from controlplane.domain.observation import (
    Adapters,
    BatchCount,
    Counter,
    HostGauge,
    HostReading,
    Interval,
    ModelReading,
    ModelState,
    ServerReading,
    SleepState,
    TokenCounts,
)
from controlplane.domain.signal import Known, Missing, Signal, Stale
from tests.unit.api.fakes import FakePlane

NOW = 1000.0


def interval(end: float, tokens: TokenCounts | None = None, batches: tuple[BatchCount, ...] = ()) -> Interval:
    return Interval(end - 5, end, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 1, batches, tokens=tokens)


def tokens(prompt: int, generation: int, hits: int | None = 0) -> TokenCounts:
    return TokenCounts(prompt, generation, 1, prompt, hits, 0, 0, 0)


def view(*intervals: Interval, stale: bool = False, **fields: object) -> ServingView:
    reading = ModelReading(ModelState.READY, intervals=intervals, **fields)  # type: ignore[arg-type]
    seen: Signal[ModelReading] = Stale(reading, NOW, 20, "refused") if stale else Known(reading, NOW)
    return ServingView.of(seen, reading, NOW, 45)


def test_rates_are_over_the_last_minute_that_was_read() -> None:
    old = [interval(end, tokens(10**6, 10**6)) for end in (925.0, 930.0, 935.0, 940.0)]
    shown = view(*old, interval(990, tokens(100, 10, 25)), interval(1000, tokens(300, 20, 75)))
    assert (shown.prompt_tokens_per_s.value, shown.generation_tokens_per_s.value) == (40.0, 3.0)
    assert shown.preemptions_per_s.value == 0.2
    assert shown.prefix_hit_ratio.value == 0.25
    assert shown.prompt_tokens_per_s.age_s == 0


def test_what_one_of_the_intervals_does_not_tell_is_missing_and_not_less() -> None:
    shown = view(interval(995, tokens(100, 10, None)), interval(1000, tokens(100, 10)))
    assert (shown.prefix_hit_ratio.state, shown.prefix_hit_ratio.why) == ("missing", "not exported")
    assert view(interval(995), interval(1000, tokens(1, 1))).prompt_tokens_per_s.state == "missing"


def test_a_server_that_counts_no_tokens_says_so_and_one_read_once_says_that() -> None:
    assert view(interval(1000)).prompt_tokens_per_s.why == "not exported"
    assert view().prompt_tokens_per_s.why == "not counted yet: that takes two readings"


def test_no_prompt_is_no_share_of_hits_and_no_execution_no_batch() -> None:
    shown = view(interval(1000, tokens(0, 0)))
    assert (shown.prefix_hit_ratio.why, shown.prompt_tokens_per_s.value) == ("no prompt came in the last minute", 0.0)
    assert shown.average_batch.why == "no execution was read in the last minute"


def test_the_average_batch_is_that_of_the_executions() -> None:
    shown = view(interval(1000, batches=(BatchCount(1, 3, 0.1), BatchCount(8, 1, 0.1))))
    assert shown.average_batch.value == 11 / 4


def test_figures_of_an_old_interval_are_stale() -> None:
    shown = view(interval(900, tokens(5, 5)))
    assert (shown.prompt_tokens_per_s.state, shown.prompt_tokens_per_s.age_s) == ("stale", 100)


def test_parts_are_no_better_known_than_the_model() -> None:
    shown = view(interval(1000, tokens(5, 5)), stale=True, sleep=Known(SleepState.AWAKE, NOW))
    assert (shown.sleep.state, shown.sleep.value, shown.sleep.why) == ("stale", SleepState.AWAKE, "refused")
    assert shown.prompt_tokens_per_s.state == "stale"


def test_adapters_and_counters_are_listed() -> None:
    counters = {(Counter.REQUESTS, "stop"): 3.0, (Counter.EXECUTIONS, ""): 2.0}
    shown = view(adapters=Known(Adapters(2, ("a",), ("b",)), NOW), counters=Known(counters, NOW))
    body = shown.model_dump(mode="json")
    assert body["adapters"]["value"] == {"slots": 2, "running": ["a"], "waiting": ["b"]}
    assert body["counters"]["value"] == [
        {"counter": "executions", "part": "", "value": 2.0},
        {"counter": "requests", "part": "stop", "value": 3.0},
    ]


async def test_a_triton_s_model_says_that_refusals_are_counted_nowhere(
    client: httpx.AsyncClient, plane: FakePlane
) -> None:
    plane.loop.models["bert"] = Known(ModelReading(ModelState.READY, refused=REFUSED), plane.loop.now)
    serving = (await client.get("/api/v1/models/bert")).json()["units"][0]["serving"]
    assert serving["refused"] == {"state": "missing", "value": None, "age_s": None, "why": REFUSED.why}
    assert serving["kv_cache_usage"]["why"] == "not exported"


async def test_the_machine_of_a_server_is_listed(
    client: httpx.AsyncClient, plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/api/v1/servers")).json()[0]["host"]["why"] == "not exported"
    reading = plane.loop.reading()
    gauges = {(HostGauge.GPU_UTILISATION, "GPU-1"): 0.5, (HostGauge.CPU_UTILISATION, ""): 0.1}
    host: Signal[HostReading] = Known(gauges, plane.loop.now)
    server = ServerReading("triton-0", Missing("x"), Missing("x"), 0, {}, host)
    monkeypatch.setitem(reading.servers, "triton-0", server)
    monkeypatch.setattr(plane.loop, "reading", lambda: reading)
    assert (await client.get("/api/v1/servers")).json()[0]["host"]["value"] == [
        {"gauge": "cpu_utilisation_ratio", "gpu": "", "value": 0.1},
        {"gauge": "gpu_utilisation_ratio", "gpu": "GPU-1", "value": 0.5},
    ]

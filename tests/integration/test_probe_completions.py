"""Probes of servers with completions, against a server that behaves as a vLLM."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config.mapping_file import parse_mapping
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ProbeSpec, ServerKind, ServerSpec
from controlplane.domain.observation import FleetReading, ModelReading, ProbeResult
from controlplane.domain.signal import Known, Missing
from tests.completion_server import CompletionServer
from tests.ollama_server import OllamaServer

wall_clock = time.time  # noqa: TID251 - real sockets live in real time
CHAT = '{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stream": true}'
WHOLE = '{"prompt": "a", "max_tokens": 2}'
ONCE = ProbeSpec(every_s=60, timeout_s=2)


@pytest.fixture
async def vllm() -> AsyncIterator[CompletionServer]:
    async with CompletionServer() as server:
        yield server


@asynccontextmanager
async def watching(
    vllm: CompletionServer, probe: ProbeSpec = ONCE, spec: ServerSpec | None = None
) -> AsyncIterator[FleetCollector]:
    spec = spec or ServerSpec("v", ServerKind.VLLM, vllm.url, f"{vllm.url}/metrics")
    fleet = Fleet((spec,), (ModelSpec("m", "tiny", ("v",), Mode.OBSERVE, probe=probe),))
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=60, clock=wall_clock, nvml=False)
    await collector.collect(0)
    yield collector
    await collector.close()


async def first(collector: FleetCollector) -> ProbeResult:
    async with asyncio.timeout(30):
        while not (results := collector.reading(wall_clock()).probes["m"]):  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
    return results[0]


async def look(collector: FleetCollector) -> FleetReading:
    await collector.collect(0)
    return collector.reading(wall_clock())


def model(reading: FleetReading) -> ModelReading:
    signal = reading.servers["v"].models["m"]
    assert isinstance(signal, Known)
    return signal.value


async def test_a_probe_is_the_shortest_completion_streamed_unless_told_otherwise(vllm: CompletionServer) -> None:
    async with watching(vllm) as collector:
        result = await first(collector)
    assert (result.server, result.error) == ("v", "")
    assert result.ttft_s is not None
    assert 0 < result.ttft_s <= result.latency_s < 2
    ((path, asked),) = vllm.asked
    assert path == "/v1/completions"
    assert asked == {"model": "tiny", "prompt": "a", "max_tokens": 1, "temperature": 0, "stream": True}


async def test_the_time_to_the_first_token_is_told_from_the_time_to_the_whole_answer(vllm: CompletionServer) -> None:
    vllm.token_s = 0.1
    async with watching(vllm, ProbeSpec(60, 2, CHAT)) as collector:
        result = await first(collector)
    assert result.ttft_s is not None
    assert result.ttft_s >= 0.1, "the event that only says who speaks is no token"
    assert result.latency_s - result.ttft_s >= 0.29, "three more came after it"
    assert vllm.asked[0][0] == "/v1/chat/completions"


async def test_an_answer_that_is_not_streamed_has_no_first_token(vllm: CompletionServer) -> None:
    async with watching(vllm, ProbeSpec(60, 2, WHOLE)) as collector:
        result = await first(collector)
    assert (result.error, result.ttft_s) == ("", None)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            500,
            {"error": {"message": "EngineCore encountered an issue", "type": "InternalServerError"}},
            "EngineCore enc",
        ),
        (400, {"object": "error", "message": "too long"}, "too long"),
        (422, {"error": "Input validation error", "error_type": "validation"}, "Input validation error"),
        (503, {"detail": "Service Unavailable"}, "Service Unavailable"),
        (429, {}, "HTTP 429"),
    ],
)
async def test_an_error_is_told_in_the_servers_words(
    vllm: CompletionServer, status: int, body: dict[str, object], words: str
) -> None:
    vllm.refuse = (status, body)
    async with watching(vllm) as collector:
        assert (await first(collector)).error.startswith(words)
        assert model(await look(collector)).recent_failures[-1].startswith(words)


@pytest.mark.parametrize(
    ("word", "error"), [("out of blocks", "out of blocks"), ("", "the stream ended before the answer")]
)
async def test_a_stream_that_breaks_off_is_an_error(vllm: CompletionServer, word: str, error: str) -> None:
    vllm.break_off = word
    async with watching(vllm, ProbeSpec(60, 2, CHAT)) as collector:
        assert (await first(collector)).error.startswith(error)


async def test_an_answer_that_drips_too_slowly_is_given_up_in_its_own_time(vllm: CompletionServer) -> None:
    vllm.token_s = 0.2
    async with watching(vllm, ProbeSpec(60, 0.5, CHAT)) as collector:
        result = await first(collector)
    assert result.error == "no answer within 0.5 s"
    assert 0.5 <= result.latency_s < 30, "the probe has 60 s until the next one"


async def test_a_model_that_is_asleep_is_not_probed_until_it_wakes(vllm: CompletionServer) -> None:
    vllm.awake.clear()
    async with watching(vllm, ProbeSpec(0.05, 2)) as collector:
        await asyncio.sleep(0.3)
        assert vllm.asked == []
        vllm.awake.set()
        await look(collector)
        assert (await first(collector)).error == ""


async def test_a_model_that_falls_asleep_under_a_probe_is_no_failure(vllm: CompletionServer) -> None:
    async with watching(vllm, ProbeSpec(60, 0.5, CHAT)) as collector:
        vllm.awake.clear()
        async with asyncio.timeout(30):
            while not vllm.asked:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)
        await look(collector)
        await asyncio.sleep(0.7)
        reading = await look(collector)
    assert reading.probes["m"] == ()
    assert model(reading).recent_failures == ()


async def test_what_the_server_refuses_for_our_own_fault_is_shown_and_is_no_event(
    vllm: CompletionServer, tmp_path: Path
) -> None:
    vllm.key = "secret"
    (tmp_path / "key").write_text("wrong")
    probe = ProbeSpec(0.05, 2, token_file=str(tmp_path / "key"))
    async with watching(vllm, probe) as collector:
        async with asyncio.timeout(30):
            while not (told := model(await look(collector)).recent_failures):  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.05)
        assert told[-1] == "not probed: Unauthorized"
        (tmp_path / "key").unlink()
        async with asyncio.timeout(30):
            while "cannot be read" not in model(await look(collector)).recent_failures[-1]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert collector.reading(wall_clock()).probes["m"] == ()
        (tmp_path / "key").write_text("secret\n")
        assert (await first(collector)).error == ""
        assert model(await look(collector)).recent_failures == ()


async def test_own_requests_are_told_from_use(vllm: CompletionServer) -> None:
    async with watching(vllm, ProbeSpec(0.05, 2)) as collector:
        async with asyncio.timeout(30):
            probes = 0
            while probes < 10:
                await asyncio.sleep(0.2)
                intervals = model(await look(collector)).intervals
                probes = sum(interval.probes for interval in intervals)
    assert sum(interval.completed for interval in intervals) - probes <= 1, "one may end between two readings"


async def test_a_model_that_its_page_does_not_name_yet_is_probed(vllm: CompletionServer) -> None:
    mapping, faults = parse_mapping(
        "{sources: test, model_label: finished_reason, requests: {success: 'vllm:request_success_total'}}", "mine", ""
    )
    assert not faults
    spec = ServerSpec("v", ServerKind.MAPPED, vllm.url, f"{vllm.url}/metrics", mapping=mapping)
    async with watching(vllm, spec=spec) as collector:
        assert isinstance((await look(collector)).servers["v"].models["m"], Missing)
        assert (await first(collector)).error == ""


@pytest.mark.parametrize("loaded", [True, False])
async def test_on_ollama_only_what_is_in_memory_is_probed(vllm: CompletionServer, loaded: bool) -> None:
    async with OllamaServer({"tiny:latest": 1}) as ollama:
        if loaded:
            ollama.use("tiny:latest")
        # its own API and that like OpenAI's are on one port of a real one
        spec = ServerSpec("v", ServerKind.OLLAMA, vllm.url, f"{ollama.url}/api/ps")
        async with watching(vllm, ProbeSpec(0.05, 2), spec) as collector:
            if loaded:
                assert (await first(collector)).error == ""
            else:
                await asyncio.sleep(0.2)
                assert vllm.asked == []

"""Probes of a real vLLM; VLLM_URL names one that serves one model and that this test may put to sleep.

VLLM_SERVER_DEV_MODE=1 vllm serve MODEL ...; VLLM_URL=http://127.0.0.1:8000 make test TEST_ARGS=FILE
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ProbeSpec, ServerKind, ServerSpec
from controlplane.domain.observation import FleetReading, ModelReading, ModelState, ProbeResult
from controlplane.domain.signal import Known

URL = os.environ.get("VLLM_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="VLLM_URL names no real vLLM")

wall_clock = time.time  # noqa: TID251 - a real server lives in real time
EVERY_S = 0.1
CHAT = '{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "ignore_eos": true, "stream": true}'


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(URL) as session:
        yield session


@pytest.fixture
async def served(session: aiohttp.ClientSession) -> str:
    async with session.get("/v1/models") as answer:
        return str((await answer.json())["data"][0]["id"])


def collector(served: str, body: str = "", timeout_s: float = 5) -> FleetCollector:
    spec = ServerSpec("v", ServerKind.VLLM, URL, f"{URL}/metrics")
    probe = ProbeSpec(EVERY_S, timeout_s, body)
    fleet = Fleet((spec,), (ModelSpec("m", served, ("v",), Mode.OBSERVE, probe=probe),))
    return FleetCollector(fleet, timeout_s=2, max_age_s=60, clock=wall_clock, nvml=False)


async def probed(of: FleetCollector, seconds: float) -> FleetReading:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await of.collect(0)
        await asyncio.sleep(0.2)
    return of.reading(wall_clock())


def model(reading: FleetReading) -> ModelReading:
    signal = reading.servers["v"].models["m"]
    assert isinstance(signal, Known)
    return signal.value


def results(reading: FleetReading) -> tuple[ProbeResult, ...]:
    return reading.probes["m"]


@pytest.mark.parametrize("body", ["", CHAT, '{"prompt": "a", "max_tokens": 2}'])
async def test_probes_are_answered_and_told_from_use(served: str, session: aiohttp.ClientSession, body: str) -> None:
    watch = collector(served, body)
    await probed(watch, 1)
    for _ in range(3):
        async with session.post("/v1/completions", json={"model": served, "prompt": "b", "max_tokens": 1}) as answer:
            assert answer.status == 200
    reading = await probed(watch, 1.5)
    await watch.close()
    assert len(results(reading)) >= 5
    assert {result.error for result in results(reading)} == {""}
    streamed = [result.ttft_s for result in results(reading) if result.ttft_s is not None]
    assert len(streamed) == (0 if '"prompt"' in body else len(results(reading)))
    if body == CHAT:
        assert all(result.ttft_s is not None and result.ttft_s < result.latency_s for result in results(reading))
    used = sum(interval.completed - interval.probes for interval in model(reading).intervals)
    assert 3 <= used <= 4, "one probe may end between two readings"


async def test_a_sleeping_engine_is_not_probed(served: str, session: aiohttp.ClientSession) -> None:
    async with session.post("/sleep?level=1") as answer:
        if answer.status == 404:
            pytest.skip("this vLLM was started without VLLM_SERVER_DEV_MODE=1")
    watch = collector(served)
    try:
        asleep = await probed(watch, 1)
        assert model(asleep).state is ModelState.UNAVAILABLE
        assert results(asleep) == ()
    finally:
        async with session.post("/wake_up") as answer:
            assert answer.status == 200
    awake = await probed(watch, 2)
    await watch.close()
    assert {result.error for result in results(awake)} == {""}


async def test_an_unknown_model_is_our_fault_and_no_event(served: str) -> None:
    watch = collector(served, '{"model": "nobody", "prompt": "a"}')
    reading = await probed(watch, 1)
    await watch.close()
    assert results(reading) == ()
    assert "The model `nobody` does not exist" in model(reading).recent_failures[-1]

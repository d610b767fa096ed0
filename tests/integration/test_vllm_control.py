"""A vLLM sleeps and wakes, and gets its adapters, through the whole loop; what it lacks is found out once and said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from controlplane.config import parse_settings
from controlplane.domain.decision import Decision, ReasonCode, Step
from controlplane.domain.errors import ConflictError
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import ControlMode, ModelState
from controlplane.domain.signal import known
from controlplane.loop.operations import OperationStatus
from controlplane.loop.wire import ControlPlane, build
from tests.vllm_server import VllmServer

CONFIG = """
store: "sqlite:///{folder}/store.db"
mode: {mode}
scrape: {{interval: 10s, timeout: 9s}}
decide: {{interval: 10s}}
servers: [{{name: v, kind: vllm, http: "{url}"}}]
models:
  - {{name: chat, served_name: tiny, runs_on: v, {chat}}}
  - {{name: sql, runs_on: v, wake: {{ensure: true}}, lora: {{path: {path}, base: chat}}}}
"""
SLEEPS = "idle_unload: 1s, wake: {ensure: true}"


@pytest.fixture
async def vllm() -> AsyncIterator[VllmServer]:
    async with VllmServer("/a", "/b") as server:
        yield server


@asynccontextmanager
async def running(
    vllm: VllmServer, folder: Path, *, mode: str = "act", chat: str = "priority: 0", path: str = "/a"
) -> AsyncIterator[ControlPlane]:
    text = CONFIG.format(folder=folder, url=vllm.url, mode=mode, chat=chat, path=path)
    plane = build(parse_settings(text, {}))
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


async def until(so: Callable[[], bool], plane: ControlPlane) -> None:
    """Read and tick until it is so: faster than by the clock, and as slow as a busy machine is."""
    async with asyncio.timeout(20):
        while not so():
            await plane.runner.collect()
            await plane.runner.tick()
            await asyncio.sleep(0.05)


def state(plane: ControlPlane, model: str) -> ModelState | None:
    reading = known(plane.picture().reading.servers["v"].models[model])
    return None if reading is None else reading.state


def decision(plane: ControlPlane, model: str) -> Decision | None:
    return next((d for d in plane.picture().decisions if d.model == model), None)


def held(plane: ControlPlane, model: str, why: ReasonCode) -> bool:
    found = decision(plane, model)
    return found is not None and (found.step, found.binding) == (Step.HOLD, why)


async def complete(vllm: VllmServer) -> None:
    request = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    async with aiohttp.ClientSession() as session, session.post(f"{vllm.url}/v1/completions", json=request) as answer:
        assert answer.status == 200


async def test_an_idle_model_sleeps_and_wakes_when_it_or_an_adapter_of_it_is_wanted(
    vllm: VllmServer, tmp_path: Path
) -> None:
    async with running(vllm, tmp_path, chat=SLEEPS) as plane:
        await until(lambda: vllm.adapters == {"sql": "/a"}, plane)
        await until(lambda: not vllm.awake.is_set(), plane)
        await until(lambda: state(plane, "chat") is ModelState.UNAVAILABLE, plane)
        await until(lambda: held(plane, "sql", ReasonCode.NOT_CONTROLLABLE), plane)
        assert vllm.told.count("/sleep?level=1&mode=wait") == 1

        ready = await plane.desk.ensure("chat", actor="gateway", timeout_s=5)
        assert ready.servers == ("v",)
        await complete(vllm)
        await until(lambda: not vllm.awake.is_set(), plane)

        assert (await plane.desk.ensure("sql", actor="gateway", timeout_s=5)).servers == ("v",)
        assert vllm.awake.is_set()
        assert vllm.told.count("/wake_up") == 2
    assert vllm.told.count("load sql /a") == 1


async def test_an_adapter_that_a_person_loads_is_loaded_again_after_a_restart(vllm: VllmServer, tmp_path: Path) -> None:
    async with running(vllm, tmp_path, mode="recommend") as plane:
        await until(lambda: decision(plane, "sql") is not None, plane)
        assert not vllm.adapters, "in recommend that is for people to do"
        loading = await plane.desk.put_override("sql", OverrideKind.LOADED, actor="ann", reason="test", ttl_s=60)
        assert (await plane.desk.wait(loading, 5)).status is OperationStatus.SUCCEEDED
        assert vllm.adapters == {"sql": "/a"}
        await complete(vllm)
        await plane.runner.collect()
        asked = [told for told in vllm.told if "controlplane-asks" in told]
        vllm.restart()
        await until(lambda: vllm.adapters == {"sql": "/a"}, plane)
        await until(lambda: state(plane, "sql") is ModelState.READY, plane)
        assert len([told for told in vllm.told if "controlplane-asks" in told]) == 2 * len(asked) == 2
        assert vllm.awake.is_set(), "without idle_unload it is left awake"
        with pytest.raises(ConflictError, match="allowed are 1 to 1"):
            await plane.desk.put_override(
                "sql", OverrideKind.INSTANCES, actor="ann", reason="test", ttl_s=60, instances=2
            )


async def test_an_adapter_of_another_path_is_replaced_in_place(vllm: VllmServer, tmp_path: Path) -> None:
    vllm.adapters["sql"] = "/a"
    async with running(vllm, tmp_path, path="/b") as plane:
        await until(lambda: vllm.adapters == {"sql": "/b"}, plane)
        await until(lambda: held(plane, "sql", ReasonCode.IN_PLACE), plane)
    assert vllm.told.count("load sql /b in place") == 1
    assert "unload sql" not in vllm.told


async def test_what_a_server_lacks_is_found_out_once_per_start_said_and_not_tried(
    vllm: VllmServer, tmp_path: Path
) -> None:
    vllm.dev_mode, vllm.lora = False, False
    async with running(vllm, tmp_path, chat=SLEEPS) as plane:
        await until(lambda: held(plane, "chat", ReasonCode.CONTROL_NOT_ALLOWED), plane)
        await until(lambda: held(plane, "sql", ReasonCode.CONTROL_NOT_ALLOWED), plane)
        for model, words in (("chat", "VLLM_SERVER_DEV_MODE=1"), ("sql", "--enable-lora")):
            found = decision(plane, model)
            assert found is not None
            assert words in found.reasons[-1].words["remedy"]
            with pytest.raises(ConflictError, match=words):
                await plane.desk.put_override(model, OverrideKind.LOADED, actor="ann", reason="test", ttl_s=60)
        ticks = plane.picture().health.ticks
        await until(lambda: plane.picture().health.ticks >= ticks + 3, plane)
        assert len(vllm.told) == 2, "one question of each kind, and no step"

        await complete(vllm)
        await plane.runner.collect()
        vllm.restart()
        vllm.dev_mode, vllm.lora = True, True
        await until(lambda: known(plane.picture().reading.servers["v"].control) is ControlMode.EXPLICIT, plane)
        await until(lambda: vllm.adapters == {"sql": "/a"}, plane)

"""Loading and unloading on Ollama, by the actuator alone and by hand through the whole loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.act.by_kind import ActuatorByKind
from controlplane.act.ollama import OllamaActuator
from controlplane.config import parse_settings
from controlplane.demo.rig import free_ports
from controlplane.domain.decision import Action, ActionStatus, Outcome, ReasonCode, Step, Target
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import ControlMode, ModelState
from controlplane.domain.signal import known
from controlplane.loop.operations import Operation, OperationStatus
from controlplane.loop.wire import ControlPlane, build
from tests.ollama_server import OllamaServer

wall_clock = time.time  # noqa: TID251 - real sockets live in real time
GIB = 2**30
NOW = 1234.5


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    async with OllamaServer({"mistral:latest": 4 * GIB, "qwen2.5:0.5b": GIB}, memory=4 * GIB) as server:
        yield server


def actuator(
    *specs: ServerSpec, unload_timeout_s: float = 5, load_timeout_s: float = 5, leads: bool = True
) -> ActuatorByKind:
    names = tuple(spec.name for spec in specs)
    fleet = Fleet(
        specs, (ModelSpec("chat", "mistral", names, Mode.ACT), ModelSpec("small", "qwen2.5:0.5b", names, Mode.ACT))
    )
    ours = OllamaActuator(
        fleet,
        clock=lambda: NOW,
        unload_timeout_s=unload_timeout_s,
        load_timeout_s=load_timeout_s,
        poll_interval_s=0.01,
        may_act=lambda: leads,
    )
    return ActuatorByKind(fleet, {ServerKind.OLLAMA: ours}, clock=lambda: NOW)


def spec(server: OllamaServer) -> ServerSpec:
    return ServerSpec("o", ServerKind.OLLAMA, server.url, f"{server.url}/api/ps")


async def carry_out(to: ActuatorByKind, step: Step, model: str = "chat", server: str = "o") -> Outcome:
    action = Action("d-1", model, server, step, Target(loaded=step is Step.LOAD, instances=int(step is Step.LOAD)), NOW)
    try:
        return await to.apply(action)
    finally:
        await to.close()


async def test_a_load_keeps_the_model_in_memory_and_doing_it_again_changes_nothing(ollama: OllamaServer) -> None:
    to = actuator(spec(ollama))
    assert await to.control_mode("o") is ControlMode.EXPLICIT
    for _ in range(2):
        outcome = await carry_out(to, Step.LOAD)
        assert outcome.status is ActionStatus.SUCCEEDED
        assert ollama.keeps("mistral:latest")


async def test_an_unload_is_done_when_the_requests_under_way_are_answered(ollama: OllamaServer) -> None:
    to = actuator(spec(ollama))
    await carry_out(to, Step.LOAD, "small")
    ollama.held.add("qwen2.5:0.5b")
    unloading = asyncio.create_task(carry_out(to, Step.UNLOAD, "small"))
    await asyncio.sleep(0.1)
    assert not unloading.done()
    ollama.release("qwen2.5:0.5b")
    assert (await unloading).status is ActionStatus.SUCCEEDED
    assert not ollama.loaded
    assert (await carry_out(to, Step.UNLOAD, "small")).status is ActionStatus.SUCCEEDED


async def test_an_unload_that_a_request_holds_fails_in_time(ollama: OllamaServer) -> None:
    to = actuator(spec(ollama), unload_timeout_s=0.05)
    await carry_out(to, Step.LOAD)
    ollama.held.add("mistral:latest")
    outcome = await carry_out(to, Step.UNLOAD)
    assert (outcome.failure, outcome.detail) == (
        FailureClass.TIMEOUT,
        "mistral is still in memory 0.05 s after its unload",
    )
    assert "requests under way" in outcome.remedy


async def test_each_refusal_has_its_class_and_the_servers_words(ollama: OllamaServer) -> None:
    to = actuator(spec(ollama))
    await carry_out(to, Step.LOAD, "small")
    full = await carry_out(to, Step.LOAD)
    assert full.failure is FailureClass.OUT_OF_MEMORY
    assert full.detail == "model requires more system memory (4.0 GiB) than is available (3.0 GiB)"
    ollama.refuse = (503, "server busy, please try again.  maximum pending requests exceeded")
    assert (await carry_out(to, Step.LOAD)).failure is FailureClass.TIMEOUT
    del ollama.pulled["mistral:latest"]
    unknown = await carry_out(to, Step.LOAD)
    assert (unknown.failure, unknown.detail) == (FailureClass.MODEL_NOT_FOUND, "model 'mistral' not found")
    assert "ollama pull" in unknown.remedy


async def test_a_load_that_takes_too_long_and_a_server_that_is_away_are_told_apart(ollama: OllamaServer) -> None:
    ollama.delay_s = 0.5
    late = await carry_out(actuator(spec(ollama), load_timeout_s=0.05), Step.LOAD)
    assert (late.failure, late.detail) == (FailureClass.TIMEOUT, "mistral is not loaded after 0.05 s")
    away = ServerSpec("o", ServerKind.OLLAMA, f"http://127.0.0.1:{free_ports().http}", "")
    for step in (Step.LOAD, Step.UNLOAD):
        assert (await carry_out(actuator(away), step)).failure is FailureClass.UNREACHABLE


async def test_without_the_lead_nothing_is_written(ollama: OllamaServer) -> None:
    to = actuator(spec(ollama), leads=False)
    for step, left in ((Step.LOAD, "load"), (Step.UNLOAD, "unload")):
        outcome = await carry_out(to, step)
        assert (outcome.failure, outcome.detail) == (
            FailureClass.SUPERSEDED,
            f"left undone: the {left} of mistral; another control plane may lead by now",
        )
    assert not ollama.loaded


async def test_a_page_at_its_address_is_told_as_that_and_not_tried_again(ollama: OllamaServer) -> None:
    elsewhere = ServerSpec("o", ServerKind.OLLAMA, f"{ollama.url}/v1", "")
    outcome = await carry_out(actuator(elsewhere), Step.LOAD)
    assert outcome.failure is FailureClass.INVALID_CONFIGURATION
    assert "/v1/api/generate answered HTTP 404" in outcome.detail


async def test_a_server_of_another_kind_is_not_acted_on() -> None:
    to = actuator(ServerSpec("v", ServerKind.VLLM, "http://127.0.0.1:9", ""))
    with pytest.raises(NotFoundError, match="whose models can be controlled"):
        await to.control_mode("v")
    outcome = await carry_out(to, Step.LOAD, server="v")
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, FailureClass.UNKNOWN)


CONFIG = """
store: "sqlite:///{folder}/store.db"
mode: act
scrape: {{interval: 300ms, timeout: 200ms}}
decide: {{interval: 500ms}}
servers: [{{name: o, kind: ollama, http: "{url}"}}]
models: [{{name: chat, served_name: mistral, runs_on: o}}]
"""


@pytest.fixture
async def plane(ollama: OllamaServer, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    built = build(parse_settings(CONFIG.format(folder=tmp_path, url=ollama.url), {}))
    await built.start()
    yield built
    await built.stop()


async def told(plane: ControlPlane, kind: OverrideKind) -> Operation:
    operation = await plane.desk.put_override("chat", kind, actor="ann", reason="test", ttl_s=60)
    return await plane.desk.wait(operation, 10)


async def test_people_load_and_unload_and_nothing_else_does(plane: ControlPlane, ollama: OllamaServer) -> None:
    for _ in range(2):
        await plane.runner.tick()
    (decision,) = plane.picture().decisions
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.NOT_CONTROLLABLE)
    assert not ollama.loaded, "what must be loaded by Triton's rules is not loaded here"

    assert (await told(plane, OverrideKind.LOADED)).status is OperationStatus.SUCCEEDED
    assert ollama.keeps("mistral:latest")
    assert known(plane.picture().reading.servers["o"].control) is ControlMode.EXPLICIT

    assert (await told(plane, OverrideKind.UNLOADED)).status is OperationStatus.SUCCEEDED
    assert not ollama.loaded
    reading = known(plane.picture().reading.servers["o"].models["chat"])
    assert reading is not None
    assert reading.state is ModelState.UNLOADED

    await plane.desk.end_overrides("chat", actor="ann")
    ollama.use("mistral:latest")
    await plane.runner.collect()
    await plane.runner.tick()
    assert "mistral:latest" in ollama.loaded, "what a client's request loaded is left alone"


async def test_a_load_that_fails_tells_the_person_why(plane: ControlPlane, ollama: OllamaServer) -> None:
    del ollama.pulled["mistral:latest"]
    operation = await told(plane, OverrideKind.LOADED)
    assert operation.status is OperationStatus.FAILED
    assert "model 'mistral' not found" in operation.detail
    assert "ollama pull" in operation.detail


async def test_more_than_one_instance_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(ConflictError, match="allowed are 1 to 1"):
        await plane.desk.put_override("chat", OverrideKind.INSTANCES, actor="ann", reason="test", ttl_s=60, instances=2)

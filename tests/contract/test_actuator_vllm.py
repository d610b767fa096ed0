"""What every actuator keeps, on a server that answers as vLLM was recorded to, and on a real one.

VLLM_URL names a real one that this test may put to sleep, VLLM_LORA the path of an adapter there:
VLLM_SERVER_DEV_MODE=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora --enable-sleep-mode
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.act.vllm import VllmActuator
from controlplane.collect.fleet import FleetCollector
from controlplane.collect.token_file import read_token
from controlplane.demo.rig import free_ports
from controlplane.domain.decision import Action, ActionStatus, Step, Target
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.lora import Lora
from controlplane.domain.observation import ControlMode, ModelState
from controlplane.domain.ports import Actuator
from controlplane.domain.signal import known
from tests.vllm_server import VllmServer

URL, PATH = os.environ.get("VLLM_URL", ""), os.environ.get("VLLM_LORA", "/adapters/sql")
NOW = 1234.5
NAMES = ("v", "away")


def retrying(inner: Actuator) -> Actuator:
    return RetryingActuator(inner, CollectorRegistry(), clock=lambda: NOW, wait_s=0.01)


WRAPPERS: dict[str, Callable[[Actuator], Actuator]] = {
    "vllm": lambda inner: inner,
    "dry_run": lambda inner: DryRunActuator(inner, clock=lambda: NOW),
    "metered": lambda inner: MeteredActuator(retrying(inner), CollectorRegistry()),
}


REAL = pytest.param("real", marks=pytest.mark.skipif(not URL, reason="VLLM_URL names no real vLLM"))


@pytest.fixture(params=["recorded", REAL])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "recorded":
        async with VllmServer(PATH) as server:
            yield server.url
    else:
        yield URL


@pytest.fixture
def fleet(url: str) -> Fleet:
    servers = (
        ServerSpec("v", ServerKind.VLLM, url, f"{url}/metrics"),
        ServerSpec("away", ServerKind.VLLM, f"http://127.0.0.1:{free_ports().http}", ""),
        ServerSpec("triton-0", ServerKind.TRITON, "http://127.0.0.1:9", ""),
    )
    adapter = ModelSpec("sql", "sql", NAMES, Mode.ACT, lora=Lora(PATH, "chat"))
    missing = ModelSpec("nowhere", "nowhere", NAMES, Mode.ACT, lora=Lora("/nowhere", "chat"))
    return Fleet(servers, (ModelSpec("chat", "tiny", NAMES, Mode.ACT), adapter, missing))


@pytest.fixture(params=list(WRAPPERS))
async def actuator(request: pytest.FixtureRequest, fleet: Fleet) -> AsyncIterator[Actuator]:
    made = WRAPPERS[str(request.param)](VllmActuator(fleet, read_token, clock=lambda: NOW))
    yield made
    await made.close()
    await made.close()  # closing twice is no error


def dry(actuator: Actuator) -> bool:
    return isinstance(actuator, DryRunActuator)


def action(step: Step, model: str, server: str = "v") -> Action:
    target = Target(loaded=step is not Step.UNLOAD, instances=0 if step is Step.UNLOAD else 1)
    return Action("id", model, server, step, target, 1.0)


async def states(fleet: Fleet) -> dict[str, ModelState]:
    """What a collector reads of the server."""
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=60, clock=lambda: NOW, nvml=False)
    await collector.collect(NOW, ["v"])
    models = collector.reading(NOW).servers["v"].models
    await collector.close()
    seen = {name: known(signal) for name, signal in models.items()}
    return {name: reading.state for name, reading in seen.items() if reading is not None}


async def test_the_control_mode_is_found_out_and_nothing_is_changed(actuator: Actuator, fleet: Fleet) -> None:
    before = await states(fleet)
    assert await actuator.control_mode("v") is ControlMode.EXPLICIT
    assert await states(fleet) == before
    with pytest.raises(TargetUnreachableError, match="away"):
        await actuator.control_mode("away")
    for other in ("triton-0", "unheard-of"):
        with pytest.raises(NotFoundError, match=other):
            await actuator.control_mode(other)


async def test_a_dry_run_changes_nothing_and_the_others_do_what_they_say(actuator: Actuator, fleet: Fleet) -> None:
    there, asleep, gone = ModelState.READY, ModelState.UNAVAILABLE, ModelState.UNLOADED
    for model, step, after in (
        ("sql", Step.LOAD, {"chat": there, "sql": there}),
        ("sql", Step.RELOAD, {"chat": there, "sql": there}),
        ("chat", Step.UNLOAD, {"chat": asleep, "sql": asleep}),
        ("chat", Step.SET_INSTANCES, {"chat": asleep, "sql": asleep}),
        ("chat", Step.LOAD, {"chat": there, "sql": there}),
        ("sql", Step.HOLD, {"chat": there, "sql": there}),
        ("sql", Step.UNLOAD, {"chat": there, "sql": gone}),
    ):
        for _ in range(2):  # steps are declarative
            outcome = await actuator.apply(action(step, model))
            assert outcome.status is (ActionStatus.DRY_RUN if dry(actuator) else ActionStatus.SUCCEEDED), outcome.detail
            assert (outcome.finished_at, outcome.failure) == (NOW, None)
            assert outcome.detail
        expected = {"chat": there, "sql": gone} if dry(actuator) else after
        assert (await states(fleet)).items() >= expected.items(), (model, step)


@pytest.mark.parametrize(
    ("step", "model", "server", "failure"),
    [
        (Step.LOAD, "nowhere", "v", FailureClass.MODEL_NOT_FOUND),
        (Step.RELOAD, "nowhere", "v", FailureClass.MODEL_NOT_FOUND),
        (Step.RELOAD, "chat", "v", FailureClass.CONTROL_NOT_ALLOWED),
        (Step.LOAD, "sql", "away", FailureClass.UNREACHABLE),
        (Step.UNLOAD, "chat", "away", FailureClass.UNREACHABLE),
        (Step.LOAD, "chat", "triton-0", FailureClass.UNKNOWN),
    ],
)
async def test_a_failure_is_an_outcome_with_class_and_remedy_and_never_raises(
    actuator: Actuator, step: Step, model: str, server: str, failure: FailureClass
) -> None:
    outcome = await actuator.apply(action(step, model, server))
    if dry(actuator):
        assert outcome.status is ActionStatus.DRY_RUN
        return
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, failure)
    assert outcome.remedy
    assert model in outcome.detail or server in outcome.detail

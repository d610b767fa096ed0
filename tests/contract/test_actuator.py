"""What every actuator keeps, on a real Triton."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from controlplane.act.dry_run import DryRunActuator
from controlplane.act.metered import MeteredActuator
from controlplane.act.retrying import RetryingActuator
from controlplane.act.triton import TritonActuator
from controlplane.demo.rig import TritonRig, free_ports
from controlplane.domain.decision import Action, ActionStatus, Step, Target
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

BERT = "bert_classifier"
NOW = 1234.5


def retrying(inner: Actuator) -> Actuator:
    return RetryingActuator(inner, CollectorRegistry(), clock=lambda: NOW, wait_s=0.01)


WRAPPERS: dict[str, Callable[[Actuator], Actuator]] = {
    "triton": lambda inner: inner,
    "dry_run": lambda inner: DryRunActuator(inner, clock=lambda: NOW),
    "metered": lambda inner: MeteredActuator(retrying(inner), CollectorRegistry()),
}


@pytest.fixture(scope="module")
def rig(module_triton_rig: RigFactory) -> TritonRig:
    return module_triton_rig([BERT])


@pytest.fixture(params=list(WRAPPERS))
async def actuator(request: pytest.FixtureRequest, rig: TritonRig) -> AsyncIterator[Actuator]:
    away = free_ports()
    servers = (
        ServerSpec("triton-0", ServerKind.TRITON, rig.http_url, rig.metrics_url, grpc=rig.grpc_url),
        ServerSpec("away", ServerKind.TRITON, f"http://127.0.0.1:{away.http}", "", grpc=f"127.0.0.1:{away.grpc}"),
        ServerSpec("vllm-0", ServerKind.VLLM, f"http://127.0.0.1:{away.http}", ""),
    )
    made = WRAPPERS[str(request.param)](TritonActuator(Fleet(servers, ()), clock=lambda: NOW))
    yield made
    await made.close()
    await made.close()  # closing twice is no error


def dry(actuator: Actuator) -> bool:
    return isinstance(actuator, DryRunActuator)


async def settles(rig: TritonRig, stubs: int) -> bool:
    """Whether the model comes to that many stub processes; what a reload replaced takes a moment to go."""
    for _ in range(300):
        if len(await asyncio.to_thread(rig.stub_pids, BERT)) == stubs:
            return True
        await asyncio.sleep(0.05)
    return False


def action(step: Step, instances: int = 1, *, model: str = BERT, server: str = "triton-0") -> Action:
    target = Target(loaded=step is not Step.UNLOAD, instances=0 if step is Step.UNLOAD else instances)
    return Action("id", model, server, step, target, 1.0)


async def test_the_control_mode_is_read_from_the_server(actuator: Actuator) -> None:
    assert await actuator.control_mode("triton-0") is ControlMode.EXPLICIT
    with pytest.raises(TargetUnreachableError, match="away"):
        await actuator.control_mode("away")
    for not_triton in ("vllm-0", "unheard-of"):
        with pytest.raises(NotFoundError, match=not_triton):
            await actuator.control_mode(not_triton)


async def test_a_dry_run_changes_nothing_and_the_others_do_what_they_say(actuator: Actuator, rig: TritonRig) -> None:
    steps = [(Step.LOAD, 1, 1), (Step.SET_INSTANCES, 2, 2), (Step.RELOAD, 2, 2), (Step.HOLD, 2, 2), (Step.UNLOAD, 0, 0)]
    for step, instances, stubs in steps:
        asked = action(step, instances)
        for _ in range(2):  # steps are declarative
            outcome = await actuator.apply(asked)
            assert outcome.action is asked
            assert outcome.finished_at == NOW
            assert outcome.detail
            assert outcome.failure is None
            assert outcome.status is (ActionStatus.DRY_RUN if dry(actuator) else ActionStatus.SUCCEEDED)
        expected = 0 if dry(actuator) else stubs
        assert await settles(rig, expected)


@pytest.mark.parametrize(("model", "server"), [("missing", "triton-0"), (BERT, "away"), (BERT, "vllm-0")])
async def test_a_failure_is_an_outcome_with_class_and_remedy_and_never_raises(
    actuator: Actuator, model: str, server: str
) -> None:
    for step in (Step.LOAD, Step.SET_INSTANCES, Step.RELOAD):
        outcome = await actuator.apply(action(step, 2, model=model, server=server))
        if dry(actuator):
            assert outcome.status is ActionStatus.DRY_RUN
            continue
        assert outcome.status is ActionStatus.FAILED
        assert outcome.failure is not None
        assert outcome.remedy
        assert model in outcome.detail or server in outcome.detail

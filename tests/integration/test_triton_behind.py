"""A Triton behind something that answers in its place, over a real socket."""

from __future__ import annotations

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from controlplane.act.retrying import RetryingActuator
from controlplane.act.triton import TritonActuator
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec

TRIES = 3


async def asked(status: int) -> tuple[Outcome, int]:
    """What came of a step where every request is answered so, and how many there were."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, text="<html>nginx</html>", headers={"Location": "/sign-in"})

    async def at_once(_: float) -> None:
        """No wait."""

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    spec = ServerSpec("t0", ServerKind.TRITON, f"http://{host}:{port}", "", grpc=f"{host}:{port}")
    inner = TritonActuator(Fleet((spec,), ()), clock=lambda: 7.0)
    actuator = RetryingActuator(inner, CollectorRegistry(), clock=lambda: 7.0, retries=TRIES - 1, sleep=at_once)
    try:
        target = Target(loaded=True, instances=2)
        outcome = await actuator.apply(Action("d", "m", "t0", Step.SET_INSTANCES, target, 0.0))
    finally:
        await actuator.close()
        await runner.cleanup()
    assert set(paths) == {"/v2/models/m/config"}, "no redirect is followed"
    return outcome, len(paths)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (401, FailureClass.CONTROL_NOT_ALLOWED),
        (403, FailureClass.CONTROL_NOT_ALLOWED),
        (404, FailureClass.INVALID_CONFIGURATION),
        (302, FailureClass.INVALID_CONFIGURATION),
    ],
)
async def test_what_no_later_try_changes_is_tried_once_and_counts_as_no_server_that_is_away(
    status: int, failure: FailureClass
) -> None:
    outcome, times = await asked(status)
    assert (outcome.status, outcome.failure, times) == (ActionStatus.FAILED, failure, 1)
    assert f"/v2/models/m/config answered HTTP {status}, no answer of the server itself" in outcome.detail


async def test_a_server_that_is_away_behind_it_is_tried_again() -> None:
    outcome, times = await asked(503)
    assert (outcome.failure, times) == (FailureClass.UNREACHABLE, TRIES)

"""Answers of what stands before a server, in an encoding of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from controlplane.act.ollama import OllamaActuator
from controlplane.act.outcome import Done, outcome_of
from controlplane.act.triton_control import TritonControl
from controlplane.act.vllm import VllmActuator
from controlplane.collect.probes.prober import in_words
from controlplane.domain.decision import Action, Step, Target
from controlplane.domain.errors import ActionError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.ports import Actuator

LOAD = Action("a", "m", "s", Step.LOAD, Target(loaded=True, instances=1), 999.0)


@pytest.fixture
async def proxy() -> AsyncIterator[str]:
    """Says of everything that what is behind it is away, in Latin-1, and does not say so."""

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=502, body="Server für m nicht da".encode("latin-1"))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", away)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def ollama(fleet: Fleet) -> Actuator:
    return OllamaActuator(fleet, clock=lambda: 1000.0)


def vllm(fleet: Fleet) -> Actuator:
    return VllmActuator(fleet, lambda _: "", clock=lambda: 1000.0)


@pytest.mark.parametrize(("kind", "made"), [(ServerKind.OLLAMA, ollama), (ServerKind.VLLM, vllm)])
async def test_one_that_is_no_utf8_is_read_all_the_same(
    proxy: str, kind: ServerKind, made: Callable[[Fleet], Actuator]
) -> None:
    actuator = made(Fleet((ServerSpec("s", kind, proxy, proxy),), ()))
    outcome = await actuator.apply(LOAD)
    await actuator.close()
    assert outcome.failure is FailureClass.UNREACHABLE, outcome.detail
    assert "502" in outcome.detail


async def test_so_it_is_of_a_triton(proxy: str) -> None:
    control = TritonControl(ServerSpec("s", ServerKind.TRITON, proxy, proxy, grpc="127.0.0.1:1"), call_timeout_s=30.0)
    with pytest.raises(TargetUnreachableError, match="HTTP 502"):
        await control.config("m")
    await control.close()


async def test_half_of_a_surrogate_pair_in_what_a_server_said_is_told_as_a_question_mark() -> None:
    async def refused() -> Done:
        raise ActionError(json.loads('"no \\ud83d room"'), FailureClass.BACKEND, "look")

    assert (await outcome_of(LOAD, refused(), lambda: 1000.0)).detail == "no ? room"
    assert in_words(500, b'{"error": "no \\ud83d room"}') == "no ? room"

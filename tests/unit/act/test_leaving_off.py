"""A step of several writes whose process loses the lead in the middle: nothing is written after that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from controlplane.act import triton
from controlplane.act.triton import TritonActuator
from controlplane.domain.batching import BatchingKnobs
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec

FLEET = Fleet((ServerSpec("t0", ServerKind.TRITON, "http://t0", "", grpc="t0:1"),), ())
CONFIG = {"name": "m", "backend": "python", "max_batch_size": 4, "instance_group": [{"kind": "KIND_CPU", "count": 1}]}
ONE, TWO = Target(loaded=True, instances=1), Target(loaded=True, instances=2)


class Server:
    """A Triton as far as the model m goes, in place of a TritonControl; who writes leads for `leads` writes."""

    def __init__(self, leads: int, state: str) -> None:
        self.leads, self.state = leads, state
        self.now: Mapping[str, Any] = CONFIG
        self.writes: list[str] = []

    def may_act(self) -> bool:
        return len(self.writes) < self.leads

    async def states(self, _: str) -> frozenset[str]:
        return frozenset({self.state})

    async def ready_versions(self, _: str) -> tuple[str, ...]:
        return ("1",) if self.state == "READY" else ()

    async def counters(self, _: str) -> Mapping[str, int]:
        return {}

    async def config(self, _: str) -> Mapping[str, Any]:
        return dict(self.now)

    async def load(self, _: str, timeout_s: float, config: Mapping[str, Any] | None = None) -> None:
        assert timeout_s > 0
        self.writes.append("load" if config is None else f"{config['instance_group'][0]['count']} instances")
        self.now, self.state = config or self.now, "READY"

    async def unload(self, _: str) -> None:
        self.writes.append("unload")
        self.state = "UNAVAILABLE"

    async def close(self) -> None:
        """It has no connection."""


async def carry_out(step: Step, target: Target, server: Server, patches: pytest.MonkeyPatch) -> Outcome:
    patches.setattr(triton, "TritonControl", lambda *_, **__: server)
    actuator = TritonActuator(FLEET, clock=lambda: 7.0, may_act=server.may_act)
    outcome = await actuator.apply(Action("d", "m", "t0", step, target, 0.0))
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)  # what it does in the background
    await actuator.close()
    return outcome


@pytest.mark.parametrize(
    ("step", "target", "state", "undone"),
    [
        (Step.LOAD, TWO, "", ["the load of m", "the configuration of m with 2 instances"]),
        (Step.RELOAD, TWO, "", ["the load of m", "the configuration of m with 2 instances"]),
        (Step.RELOAD, TWO, "READY", ["the configuration of m with 2 instances"]),
        (Step.SET_INSTANCES, TWO, "READY", ["the configuration of m with 2 instances"]),
        (
            Step.CONFIGURE,
            Target(loaded=True, instances=1, batching=BatchingKnobs(8)),
            "READY",
            ["the configuration of m with 1 instance"],
        ),
        (
            Step.SET_VERSIONS,  # to one that is not there, so that it is taken back
            Target(loaded=True, instances=2, versions=("1", "9")),
            "READY",
            [
                "the configuration of m with 2 instances of version 1, 9",
                "the configuration of m with 2 instances of version 1",
            ],
        ),
        (Step.UNLOAD, Target(loaded=False, instances=0), "READY", ["the unload of m"]),
    ],
)
async def test_each_single_write_asks_whether_this_process_leads_and_what_is_left_undone_is_told(
    step: Step, target: Target, state: str, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Server(99, state)
    await carry_out(step, target, whole, monkeypatch)
    assert len(whole.writes) == len(undone), "so many writes has the step"
    for leads, left in enumerate(undone):
        server = Server(leads, state)
        outcome = await carry_out(step, target, server, monkeypatch)
        assert server.writes == whole.writes[:leads]
        assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, FailureClass.SUPERSEDED)
        assert outcome.detail == f"left undone: {left}; another control plane may lead by now"
        assert "whoever leads" in outcome.remedy


@pytest.mark.parametrize(("leads", "writes"), [(99, ["load", "1 instances"]), (1, ["load"]), (0, [])])
async def test_so_does_what_a_load_has_done_in_the_background(
    leads: int, writes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(leads, "")
    outcome = await carry_out(Step.LOAD, ONE, server, monkeypatch)
    assert server.writes == writes
    assert (outcome.status is ActionStatus.SUCCEEDED) == (leads > 0)

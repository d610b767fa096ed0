"""Batching set by the control plane on a real Triton: it stays where it helps, and is taken back where it harms."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from controlplane.act.triton import TritonActuator
from controlplane.collect.fleet import FleetCollector
from controlplane.decide import advising, tuning
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.demo.rig import TritonRig
from controlplane.domain.batching import BatchingUse
from controlplane.domain.decision import Action, Decision, Effect, Outcome, ReasonCode, Step, Verdict
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelReading
from controlplane.domain.signal import Known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.recheck import objection
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

GOOD, BAD = "bert_classifier", "resnet50_detector"
AT_ONCE = 24
PATIENCE_S = 40.0
wall_clock = time.time  # noqa: TID251 - real servers live in real time


def unbatched(repository: Path) -> None:
    """Both take 18 ms and 2 ms an item and form no batches; those that the server makes are slow on one of them."""
    for model in (GOOD, BAD):
        path = repository / model / "config.pbtxt"
        lines = [line for line in path.read_text().splitlines() if "dynamic_batching" not in line]
        given = {"a_ms": "18", "b_ms": "2", "slowed": "1", "gpu": ""}
        changed = [line for line in lines if not any(f'key: "{key}"' in line for key in given)]
        at = changed.index("parameters [") + 1
        more = [f'  {{ key: "{key}", value: {{ string_value: "{value}" }} }},' for key, value in given.items()]
        path.write_text("\n".join([*changed[:at], *more, *changed[at:]]))
    code = repository / BAD / "1" / "model.py"
    text = code.read_text()
    takes = "takes_s = self.a_s + self.b_s * sum(len(x) for x in inputs)"
    assert takes in text
    code.write_text(text.replace(takes, f"{takes}\n        takes_s *= len(requests)"))


def rows(count: int) -> list[triton.InferInput]:
    tensor = triton.InferInput("X", [count, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((count, 4), dtype=np.float32))
    return [tensor]


@asynccontextmanager
async def load(rig: TritonRig) -> AsyncIterator[None]:
    """So many requests under way to each model all the time; each tenth is a batch of four by the client."""
    stop = asyncio.Event()
    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:

        async def one(model: str, sizes: itertools.cycle[int]) -> None:
            while not stop.is_set():
                await client.infer(model, rows(next(sizes)))

        each = {model: itertools.cycle([4, *[1] * 9]) for model in (GOOD, BAD)}
        senders = [asyncio.create_task(one(*pair)) for pair in each.items() for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*senders)


@dataclass
class Plane:
    """The way from reading to acting, a tick a second."""

    fleet: Fleet
    collector: FleetCollector
    actuator: TritonActuator
    state: PolicyState = field(default_factory=PolicyState)
    done: list[tuple[Decision, Outcome]] = field(default_factory=list)
    effects: dict[str, Effect] = field(default_factory=dict)
    _results: tuple[Outcome, ...] = ()

    async def tick(self) -> None:
        await self.collector.collect(0)
        now = wall_clock()
        snapshot = Snapshot(self.fleet, self.collector.reading(now), results=self._results)
        plan, self.state = decide(snapshot, self.state, Policy(settle_s=1.0), now)
        steps = [d for d in plan.decisions if d.actionable and not objection(d, snapshot)]
        self._results = tuple(await asyncio.gather(*(self._do(d) for d in steps)))
        self.done += zip(steps, self._results, strict=True)
        self.effects |= {effect.decision_id: effect for effect in plan.effects}

    async def _do(self, decision: Decision) -> Outcome:
        assert decision.target is not None
        outcome = await self.actuator.apply(
            Action(
                decision.id,
                decision.model,
                "t",
                decision.step,
                decision.target,
                wall_clock(),
                decision.current,
            )
        )
        await self.collector.collect(0, {"t"})
        return outcome

    def of(self, model: str) -> list[tuple[Decision, Outcome]]:
        return [(decision, outcome) for decision, outcome in self.done if decision.model == model]

    def reading(self, model: str) -> ModelReading:
        signal = self.collector.reading(wall_clock()).servers["t"].models[model]
        assert isinstance(signal, Known)
        return signal.value


async def test_batching_that_helps_stays_and_batching_that_harms_is_undone(
    triton_rig: RigFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advising, "WINDOW_S", 5.0)
    monkeypatch.setattr(tuning, "DWELL_S", 0.5)
    rig = triton_rig([GOOD, BAD], load=(GOOD, BAD), start=False)
    unbatched(rig.repository)
    await asyncio.to_thread(rig.start)
    server = ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url)
    models = tuple(ModelSpec(name, name, ("t",), Mode.ACT, batching=BatchingUse.ACT) for name in (GOOD, BAD))
    fleet = Fleet((server,), models)
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    actuator = TritonActuator(fleet, clock=wall_clock)
    plane = Plane(fleet, collector, actuator)
    until = wall_clock() + PATIENCE_S
    try:
        async with load(rig):
            while wall_clock() < until and not (len(plane.of(BAD)) == 2 and len(plane.effects) == 2):
                await plane.tick()
                await asyncio.sleep(0.5)
            await plane.tick()
        again = await actuator.apply(plane.of(GOOD)[0][1].action)
    finally:
        await actuator.close()
        await collector.close()

    [(set_there, outcome)] = plane.of(GOOD)
    assert set_there.step is Step.CONFIGURE
    assert outcome.in_place is False, outcome.detail
    assert again.detail.startswith("has that batching already")
    helped = plane.effects[set_there.id]
    assert helped.verdict is Verdict.HELPED
    assert helped.after_per_s > 2.0 * helped.before_per_s
    assert plane.reading(GOOD).dynamic_batching
    (tried, _), (undone, _) = plane.of(BAD)
    assert tried.target is not None
    assert tried.target.batching == set_there.target.batching  # type: ignore[union-attr]
    assert plane.effects[tried.id].verdict is Verdict.HARMED
    assert undone.binding is ReasonCode.UNDO
    assert not plane.reading(BAD).dynamic_batching
    assert plane.state.units[f"{BAD}@t"].refused

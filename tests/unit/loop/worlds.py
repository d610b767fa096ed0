"""Small parts around the executor and the runner."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal

NOW = 1_700_000_000.0
MODELS = ("a", "b")
FLEET = Fleet(
    (ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x", "x:1"),),
    tuple(ModelSpec(name, name, ("t0",), Mode.ACT, instances_max=8) for name in MODELS),
)


def a_reading(instances: int = 1) -> FleetReading:
    """Both models loaded with so many instances."""
    seen = Known(ModelReading(ModelState.READY, instances=Known(instances, NOW)), NOW)
    server = ServerReading("t0", Known(True, NOW), Missing("not asked yet"), 0, dict.fromkeys(MODELS, seen))  # noqa: FBT003
    return FleetReading(NOW, {"t0": server}, {}, {}, Missing("no driver"))


def a_decision(id_: str = "d-1", model: str = "a", **changes: object) -> Decision:
    fields: dict[str, object] = {
        "mode": Mode.ACT,
        "step": Step.SET_INSTANCES,
        "current": Target(loaded=True, instances=1),
        "target": Target(loaded=True, instances=2),
        "reasons": (),
        "binding": ReasonCode.DEMAND,
    }
    return Decision(id=id_, at=NOW, model=model, server="t0", **(fields | changes))  # type: ignore[arg-type]


class GatedActuator:
    """Carries steps out once the gate is open; fails where told to. Each takes `takes_s` of `now`."""

    def __init__(self) -> None:
        self.now = NOW
        self.takes_s = 1.0
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.applied: list[Action] = []
        self.error: Exception | None = None
        self.closed = False
        self.fleet = FLEET

    async def control_mode(self, server: str) -> ControlMode:  # noqa: ARG002 - the port's signature
        return ControlMode.EXPLICIT

    async def apply(self, action: Action) -> Outcome:
        self.applied.append(action)
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.now += self.takes_s
        return Outcome(action, ActionStatus.SUCCEEDED, self.now, "done")

    def follow(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def close(self) -> None:
        self.closed = True


class FixedCollector:
    """Always reads the same."""

    def __init__(self, reading: FleetReading) -> None:
        self.fixed = reading
        self.rounds = 0
        self.asked: list[frozenset[str] | None] = []
        self.followed: list[Fleet] = []
        self.controls: dict[str, Signal[ControlMode]] = {}
        self.closed = False

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:  # noqa: ARG002 - the port's signature
        self.rounds += 1
        self.asked.append(None if servers is None else frozenset(servers))

    def reading(self, now: float) -> FleetReading:  # noqa: ARG002 - the port's signature
        return self.fixed

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        self.controls[server] = mode

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        self.followed.append(fleet)
        return FleetReading(now, {}, {}, {}, Missing("not asked"))

    async def close(self) -> None:
        self.closed = True

"""Values to store."""

from __future__ import annotations

from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Decision,
    Effect,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Target,
)
from controlplane.domain.expected import Announced
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.objectives import Slice
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState

NOW = 1_700_000_040.0
"""A whole minute."""
DAY = 86_400.0


def a_slice(start: float, good: int = 9, bad: int = 1, *, model: str = "bert", version: str = "v1") -> Slice:
    return Slice(model, "latency", start, good, bad, 2, 10.0, 10.0, version)


def a_decision(
    id_: str, at: float = NOW, *, model: str = "bert", step: Step = Step.HOLD, **changes: object
) -> Decision:
    fields: dict[str, object] = {
        "server": "t0",
        "mode": Mode.ACT,
        "current": Target(loaded=True, instances=1),
        "target": Target(loaded=True, instances=1),
        "reasons": (Reason(ReasonCode.DEMAND, {"demand_per_s": 3.5}), Reason(ReasonCode.IN_PLACE)),
        "binding": ReasonCode.IN_PLACE,
    }
    return Decision(id=id_, at=at, model=model, step=step, **(fields | changes))  # type: ignore[arg-type]


def a_tick(
    at: float = NOW,
    *,
    slices: tuple[Slice, ...] = (),
    decisions: tuple[Decision, ...] = (),
    effects: tuple[Effect, ...] = (),
    state: PolicyState | None = None,
) -> TickRecord:
    return TickRecord(at, slices, decisions, effects, state or PolicyState())


def an_action(id_: str = "d1", step: Step = Step.LOAD, instances: int = 2) -> Action:
    return Action(id_, "bert", "t0", step, Target(loaded=True, instances=instances), NOW)


def an_outcome(action: Action, status: ActionStatus = ActionStatus.SUCCEEDED, after_s: float = 4.0) -> Outcome:
    return Outcome(action, status, action.issued_at + after_s, "ready")


def an_override(
    id_: str, *, at: float = NOW, kind: OverrideKind = OverrideKind.LOADED, model: str = "bert", server: str = ""
) -> Override:
    return Override(id_, model, kind, "ann", "incident 7", at, at + 7200.0, 2, server)


def a_freeze(id_: str, *, at: float = NOW, model: str = "") -> Freeze:
    return Freeze(id_, model, FreezeDirection.ALL, "ann", "release", at, at + 3600.0)


def an_announced(id_: str, *, start: float = NOW + 600.0) -> Announced:
    return Announced(id_, "sale", "bert", start, start + 3600.0, 3.0, 50.0, "ann", "press at 9", NOW)

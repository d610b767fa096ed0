"""What people said, laid over what the policy wants: a freeze first, then an override, which wins."""

from __future__ import annotations

from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import (
    Freeze,
    FreezeDirection,
    Override,
    OverrideKind,
    Reason,
    ReasonCode,
    Target,
)


def freeze(draft: Draft, base: Target, freezes: tuple[Freeze, ...], now: float) -> Draft:
    """The draft with every change that a freeze forbids taken back to `base`, what should have been so far.

    Restoring what a restarted server lost is no change of `base` and goes on.
    """
    for entry in freezes:
        if forbids(entry.direction, base, draft.target):
            words = {"actor": entry.actor, "why": entry.reason, "direction": entry.direction.value}
            return draft.because(Reason(ReasonCode.FROZEN, {"left_s": entry.expires_at - now}, words), base)
    return draft


def forbids(direction: FreezeDirection, base: Target, target: Target) -> bool:
    """Whether a freeze forbids the way from `base` to `target`."""
    up = target.instances > base.instances or (target.loaded and not base.loaded)
    down = target.instances < base.instances or (base.loaded and not target.loaded)
    match direction:
        case FreezeDirection.ALL:
            return up or down
        case FreezeDirection.NO_UP:
            return up
        case FreezeDirection.NO_DOWN:
            return down


def override(draft: Draft, unit: Unit, now: float) -> Draft:
    """The draft with the person's instruction in place of the policy's wish."""
    told = unit.override
    if told is None:
        return draft
    words = {"actor": told.actor, "why": told.reason, "kind": told.kind.value}
    reason = Reason(ReasonCode.OVERRIDE, {"left_s": told.expires_at - now}, words)
    return draft.because(reason, _told_target(told, draft.target, unit), by_person=True)


def _told_target(told: Override, policy: Target, unit: Unit) -> Target:
    floor = max(1, unit.spec.instances_min)
    match told.kind:
        case OverrideKind.UNLOADED:
            return Target(loaded=False, instances=0)
        case OverrideKind.LOADED:
            return Target(loaded=True, instances=max(floor, policy.instances))
        case OverrideKind.INSTANCES | OverrideKind.PIN:
            return Target(loaded=True, instances=told.instances or floor)

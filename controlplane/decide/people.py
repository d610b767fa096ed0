"""What people said, laid over what the policy wants: a freeze first, then an override, which wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.decide.unit import Draft
from controlplane.domain.decision import Reason, ReasonCode, Target
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind


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


def override(draft: Draft, base: Target, told: Override | None, floor: int, now: float, *, acts: bool) -> Draft:
    """The draft with the person's instruction in place of what was wanted; `base` is what should have been so far.

    `floor` is the least count of what is loaded. Bounds that a person set bind where they cut the wish, and hold
    against a freeze too; where we do not act by ourselves (not `acts`), they are followed as far as they ask.
    """
    if told is None:
        return draft
    words = {"actor": told.actor, "why": told.reason, "kind": told.kind.value}
    reason = Reason(ReasonCode.OVERRIDE, {"left_s": told.expires_at - now, **_bounds(told)}, words)
    if told.kind is OverrideKind.BOUNDS:
        return _bounded(draft, base, told, reason, acts=acts)
    return draft.because(reason, _told_target(told, draft.target, floor), by_person=True)


def about(overrides: Iterable[Override], model: str, server: str) -> Iterator[Override]:
    """Those that say how a model should be on a server; which version is another matter."""
    return (
        o for o in overrides if o.model == model and o.server in ("", server) and o.kind is not OverrideKind.ROLLOUT
    )


def newest(overrides: Iterable[Override]) -> Override | None:
    """The last word of several."""
    return max(overrides, key=lambda o: (o.created_at, o.id), default=None)


def bounds(told: Override | None, least: int, most: int) -> tuple[int, int]:
    """The bounds in force: those that a person set, else the configured ones."""
    if told is None or told.kind is not OverrideKind.BOUNDS or told.least is None or told.most is None:
        return least, most
    return told.least, told.most


def _bounds(told: Override) -> dict[str, float]:
    if told.least is None or told.most is None:
        return {}
    return {"min": float(told.least), "max": float(told.most)}


def _bounded(draft: Draft, base: Target, told: Override, reason: Reason, *, acts: bool) -> Draft:
    least, most = bounds(told, 0, draft.target.instances)
    asked = _clamped(base, least, most)
    if not acts and base.loaded and asked != base:
        return draft.because(reason, asked, by_person=True)
    target = _clamped(draft.target, least, most)
    if target != draft.target or draft.binding is ReasonCode.BOUNDS:
        return draft.because(reason, target)
    return draft.noting(reason)


def _clamped(target: Target, least: int, most: int) -> Target:
    """What is loaded, inside the bounds. Whether it is loaded they do not say."""
    return Target(loaded=True, instances=max(least, min(most, target.instances))) if target.loaded else target


def _told_target(told: Override, policy: Target, floor: int) -> Target:
    match told.kind:
        case OverrideKind.UNLOADED:
            return Target(loaded=False, instances=0)
        case OverrideKind.LOADED:
            return Target(loaded=True, instances=max(floor, policy.instances))
        case OverrideKind.INSTANCES | OverrideKind.REPLICAS | OverrideKind.PIN:
            count = floor if told.instances is None else told.instances
            return Target(loaded=count > 0, instances=count)
        case OverrideKind.BOUNDS | OverrideKind.ROLLOUT:
            return policy

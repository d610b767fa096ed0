"""Does a step fit the memory of its server? Asked of loads, raises and reloads; what is not known refuses nothing."""

from __future__ import annotations

from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import Reason, ReasonCode, Step, Target


def takes(unit: Unit, step: Step, present: Target, target: Target) -> int | None:
    """Bytes that a step takes beside what is there, if only for a while; None: not known.

    Triton makes the new copy of a reload, and the new versions of a model, before it drops the old ones.
    """
    match step:
        case Step.LOAD | Step.RELOAD:
            return unit.size.of(target.instances)
        case Step.CONFIGURE:
            return unit.size.of(present.instances)
        case Step.SET_INSTANCES:
            return unit.size.between(present.instances, target.instances)
        case Step.SET_VERSIONS:
            new, one = len(set(target.versions) - set(present.versions)), unit.size.of(target.instances)
            return None if one is None else new * one
        case _:
            return 0


def no_room(unit: Unit, step: Step, present: Target, target: Target) -> Reason | None:
    """Why a step is refused before it is tried: by memory, where both what there is and what it takes are known.

    A vLLM has set aside the memory of its adapters when it started.
    """
    if unit.spec.lora is not None or unit.free_bytes is None:
        return None
    more = takes(unit, step, present, target)
    if not more or more <= unit.free_bytes:
        return None
    sizes = {"takes_mib": more / 2**20, "free_mib": max(0, unit.free_bytes) / 2**20}
    return Reason(ReasonCode.NO_ROOM, sizes, {} if step is Step.LOAD else {"step": step.value.replace("_", " ")})


def most(unit: Unit, present: Target, highest: int) -> int:
    """The most instances for which there is room, `highest` at most; as many as are there at least."""
    counts = range(highest, present.instances, -1)
    return next((n for n in counts if _raise(unit, present, n) is None), min(highest, present.instances))


def cut(unit: Unit, draft: Draft, present: Target) -> Draft:
    """The draft with no more instances than there is room for. What a person set is set so or not at all."""
    wanted = draft.target.instances
    reason = refused(unit, draft, present)
    if reason is None or (draft.by_person and unit.instances_told is not None):
        return draft
    low = present.instances if present.loaded else max(1, unit.spec.instances_min)
    counts = (count for count in range(wanted - 1, low - 1, -1) if count % unit.step == 0 or count == low)
    fits = next((count for count in counts if _raise(unit, present, count) is None), None)
    if fits is None:
        return draft
    numbers = {"wanted": float(wanted), **reason.numbers}
    return draft.because(Reason(ReasonCode.NO_ROOM, numbers), Target(loaded=True, instances=fits))


def refused(unit: Unit, draft: Draft, present: Target) -> Reason | None:
    """Why the draft's instances, or the load with them, do not fit; None: they do, or are no more than are there."""
    return _raise(unit, present, draft.target.instances) if draft.target.loaded else None


def _raise(unit: Unit, present: Target, instances: int) -> Reason | None:
    if present.loaded and instances <= present.instances:
        return None
    step = Step.SET_INSTANCES if present.loaded else Step.LOAD
    return no_room(unit, step, present, Target(loaded=True, instances=instances))

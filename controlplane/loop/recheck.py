"""Still so? Asked right before a step is carried out: the world may have moved since the decision."""

from __future__ import annotations

from controlplane.decide.people import forbids
from controlplane.decide.placing.handover import relied_on
from controlplane.domain.decision import OF_REPLICAS, Decision, Step, Target
from controlplane.domain.fleet import Fleet, Phase
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.present import model_reading, present, replicas_of


def objection(decision: Decision, now: Snapshot) -> str:
    """Why the decision is no longer right, or "" when it still is.

    A step whose goal is reached already, one that rests on a state that has changed and one against which a person has
    spoken since are dropped quietly.
    """
    if decision.target is None:
        return "the decision names no target"
    moved = _replicas(decision, decision.target, now) if decision.step in OF_REPLICAS else _unit(decision, now)
    return moved or _said(decision, decision.target, now)


def _unit(decision: Decision, now: Snapshot) -> str:
    if decision.server not in now.reading.servers:
        return "the server has left"
    member = now.fleet.members.get(decision.server)
    if member is not None and member.phase is Phase.TERMINATING:
        return "the server is terminating"
    seen = present(now.reading, decision.model, decision.server)
    if decision.step in (Step.RELOAD, Step.SET_VERSIONS):
        return "" if seen is None or seen.loaded else "the model is no longer loaded"
    if seen is None:
        return f"what is on {decision.server} is no longer known"
    if _is_so(decision, seen, now):
        return "it is so already"
    return _changed(decision.current, seen, "instance") or _unready(decision, now)


def _unready(decision: Decision, now: Snapshot) -> str:
    """Which of those that are to take its part are not ready for it any more. Who unloads by hand waits for none."""
    if decision.step is not Step.UNLOAD or decision.by_person:
        return ""
    for server, least in relied_on(decision.reasons).items():
        seen = present(now.reading, decision.model, server)
        if seen is None or not seen.loaded or seen.instances < least:
            return f"{decision.model} on {server}, which was to take its part, no longer has {least} instances"
    return ""


def _is_so(decision: Decision, seen: Target, now: Snapshot) -> bool:
    if decision.step is Step.CONFIGURE:
        read = model_reading(now.reading, decision.model, decision.server)
        return read is not None and decision.target is not None and read.batching == decision.target.batching
    return seen == decision.target or (decision.step is Step.UNLOAD and not seen.loaded)


def _replicas(decision: Decision, target: Target, now: Snapshot) -> str:
    spec = next((spec for spec in now.fleet.workloads if spec.name == decision.server), None)
    if spec is None:
        return "the workload is no longer configured"
    if spec.name in now.fleet.unlisted:
        return f"the servers of {spec.name} are no longer known"
    count, out = _count(now.fleet, spec.name), replicas_of(now.fleet, spec.name, Phase.DRAINING)
    if decision.step is Step.TRAFFIC:
        count -= out
    elif count == target.instances:
        return "it is so already"
    elif spec.drain is not None and count - target.instances > out + replicas_of(now.fleet, spec.name, Phase.STARTING):
        return "replicas that would go take requests again"
    return _changed(decision.current, Target(loaded=count > 0, instances=count), "replica")


def _said(decision: Decision, target: Target, now: Snapshot) -> str:
    """What a person said after the decision, where it speaks against it."""
    models = {m.name for m in now.fleet.models if decision.server in m.workloads} | {decision.model}
    of_replicas = decision.step in OF_REPLICAS
    for freeze in now.freezes:
        holds = freeze.holds_replicas(decision.server, models) if of_replicas else freeze.holds(decision.model)
        if decision.by_person or decision.current is None or not holds:
            continue
        held = decision.step is Step.CONFIGURE or forbids(freeze.direction, decision.current, target)
        if freeze.created_at > decision.at and held:
            return f"frozen since by {freeze.actor}: {freeze.reason}"
    if of_replicas:
        told = [o for o in now.overrides if o.workload == decision.server]
    else:
        told = [o for o in now.overrides if o.model == decision.model and o.server in ("", decision.server)]
    newer = next((o for o in told if o.created_at > decision.at), None)
    return "" if newer is None else f"{newer.actor} has said {newer.kind.value} since: {newer.reason}"


def _count(fleet: Fleet, workload: str) -> int:
    """Replicas that are there or start."""
    members = (m for m in fleet.members.values() if m.workload == workload)
    return sum(member.phase is not Phase.TERMINATING for member in members)


def _changed(before: Target | None, now: Target, what: str) -> str:
    return "" if before is None or now == before else f"{_words(before, what)} became {_words(now, what)}"


def _words(target: Target, what: str) -> str:
    if what == "instance" and not target.loaded:
        return "unloaded"
    return f"{target.instances} {what}{'' if target.instances == 1 else 's'}"

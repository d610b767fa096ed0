"""What cannot be read: servers that are down, and everything of which nothing new is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.fleet import Member, Phase
from controlplane.domain.observation import ServerReading
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Known, Missing, Signal, known

T = TypeVar("T")
_FIRST_S = 60.0
_STARTS_S = 3600.0
"""No start-up takes so long: a pod that is not ready then waited for room, lost its readiness or never gets it."""


def unread(picture: Picture) -> Iterator[Condition]:
    """SERVER_DOWN and SCRAPE_STALE: of a server one for each model that runs on it.

    Nothing is said of what never was read within the first minute of the control plane or of a discovered server, nor
    of one that terminates or starts; one that starts for more than an hour is stale, yet not down.
    """
    yield from _servers(picture)
    yield from _other_sources(picture)


def _servers(picture: Picture) -> Iterator[Condition]:
    """Servers that are known not to answer, and those of which nothing new is read."""
    models: dict[str, list[str]] = {}
    for model in picture.fleet.models:
        for server in model.runs_on:
            models.setdefault(server, []).append(model.name)
    for spec in picture.fleet.servers:
        member, reading = picture.fleet.members.get(spec.name), picture.reading.servers.get(spec.name)
        if member is not None and _need_not_answer(member, picture.at):
            continue
        served = models.get(spec.name, [])
        starting = member is not None and member.phase is Phase.STARTING
        if reading is not None and known(reading.live) is False and not starting:
            down = Condition(AlertName.SERVER_DOWN, server=spec.name, detail=reading.problem)
            yield from (replace(down, model=model) for model in served or [""])
            continue
        since = member.created_at if member is not None else None
        yield from _unread(reading, spec.name, served, _new(picture, since))


def _need_not_answer(member: Member, now: float) -> bool:
    """Whether it is on its way up or down."""
    if member.phase is Phase.STARTING:
        return member.created_at is None or now - member.created_at <= _STARTS_S
    return member.phase is Phase.TERMINATING


def _unread(reading: ServerReading | None, server: str, models: list[str], new: bool) -> Iterator[Condition]:
    live: Signal[bool] = Missing("never read") if reading is None else reading.live
    if reading is None or not isinstance(live, Known):
        if not (new and isinstance(live, Missing)):
            stale = Condition(AlertName.SCRAPE_STALE, server=server, kind="server", cause=_how(live), detail=_why(live))
            yield from (replace(stale, model=model) for model in models or [""])
        return
    for model in models:
        seen = reading.models.get(model, Missing("never read"))
        if not isinstance(seen, Known) and not (new and isinstance(seen, Missing)):
            yield Condition(
                AlertName.SCRAPE_STALE, model, server=server, kind="model", cause=_how(seen), detail=_why(seen)
            )


def _other_sources(picture: Picture) -> Iterator[Condition]:
    """Gateways, agents, Prometheus servers and listings of workloads that cannot be read. `server` names them."""
    reading, fleet, new = picture.reading, picture.fleet, _new(picture, None)
    for gateway in fleet.gateways:
        yield from _not_read("gateway", gateway.name, reading.gateways.get(gateway.name), new)
    for agent in fleet.agents:
        for one in _not_read("agent", agent.name, reading.gpu_nodes.get(agent.name), new):
            yield replace(one, node=agent.name)
    for name, listing in picture.workloads.items():
        for one in _not_read("workload", name, listing, new):
            yield replace(one, workload=name)
    for model in fleet.models:
        for objective in model.objectives:
            if objective.ratio is not None:
                ratio = reading.ratios.get(model.name, {}).get(objective.key)
                live = ratio.live if ratio is not None else None
                for one in _not_read("prometheus", objective.ratio.prometheus, live, new):
                    yield replace(one, model=model.name, objective=objective.key)


def _not_read(kind: str, name: str, signal: Signal[T] | None, new: bool) -> Iterator[Condition]:
    signal = Missing("never read") if signal is None else signal
    if isinstance(signal, Known) and signal.value is not False:
        return
    if not (new and isinstance(signal, Missing)):
        detail = "does not answer" if isinstance(signal, Known) else _why(signal)
        yield Condition(AlertName.SCRAPE_STALE, server=name, kind=kind, cause=_how(signal), detail=detail)


def _new(picture: Picture, since: float | None) -> bool:
    """Whether what is there `since` then (None: always was) may not have been read at all yet."""
    return picture.at - max(picture.health.started_at, since or 0.0) < _FIRST_S


def _how(signal: Signal[T]) -> str:
    return "missing" if isinstance(signal, Missing) else "refused" if isinstance(signal, Known) else "stale"


def _why(signal: Signal[T]) -> str:
    if isinstance(signal, Known):
        return ""
    return (
        signal.why if isinstance(signal, Missing) else f"read last {signal.age_s:.0f} s ago; {signal.why}".rstrip("; ")
    )

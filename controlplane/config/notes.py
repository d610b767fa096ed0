"""What is no fault of a configuration, but better known: alerts that fire otherwise, or later, than is usual."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.alert_notes import alert_notes
from controlplane.config.mig.notes import mig_notes
from controlplane.config.settings import Settings
from controlplane.config.units import format_duration, format_share
from controlplane.domain.fleet import Fleet, ModelSpec, RoutesSpec
from controlplane.domain.objectives import Objective
from controlplane.domain.sizes import memory_text
from controlplane.slo.burn import MOST_BAD, factors
from controlplane.slo.grace import Grace


def notes(settings: Settings) -> Iterator[str]:
    """Lines on burn alerts that fire earlier than their budget share asks for or are told late, and of `alerts`."""
    graces = Grace(settings.scrape_interval_s, settings.scrape_timeout_s).of_models(settings.fleet)
    for model in settings.fleet.models:
        for objective in model.objectives:
            yield from _repaired(model, objective)
            yield from _late(model, objective, graces[model.name])
    yield from alert_notes(settings)
    for workload in settings.fleet.workloads:
        if workload.query is None:
            yield f"workload {workload.name}: nothing finds its servers, so that only `controlplane decide` can use it"
    for routes in settings.fleet.routes:
        yield from _crowded(routes, settings.fleet)
    yield from mig_notes(settings)


def _crowded(routes: RoutesSpec, fleet: Fleet) -> Iterator[str]:
    """Models behind a gateway whose fewest copies cannot all be there, by the memory that all are said to have."""
    told = [server.memory_bytes for server in fleet.servers if server.name in routes.servers]
    for workload in (w for w in fleet.workloads if w.name in routes.workloads):
        told.extend([workload.memory_bytes] * workload.replicas.most if workload.replicas else [None])
    rooms = [room for room in told if room is not None]
    behind = {*routes.servers, *routes.workloads}
    sizes = {
        m: m.memory_bytes for m in fleet.models if m.memory_bytes and behind.issuperset((*m.runs_on, *m.workloads))
    }
    if not rooms or len(rooms) < len(told) or not sizes:
        return
    needed, room = sum(size * model.copies_min for model, size in sizes.items()), sum(rooms)
    names, lack = ", ".join(model.name for model in sizes), ""
    if needed > room:
        lack = f"take {memory_text(needed)} together, and the servers behind it have {memory_text(room)}"
    elif large := [model for model, size in sizes.items() if 2 * size > max(rooms)]:
        copies, least = sum(model.copies_min for model in large), min(sizes[model] for model in large)
        places = sum(room >= least for room in rooms)
        if copies > places:
            names = ", ".join(model.name for model in large)
            lack = f"are {copies}, no two fit on one server, and {places} of the servers can have one"
    if lack:
        yield (
            f"gateway {routes.gateway}: the fewest copies of {names} {lack}: some copies of those of the lowest"
            " priority are placed nowhere"
        )


def _repaired(model: ModelSpec, objective: Objective) -> Iterator[str]:
    repaired = [found for found in factors(objective) if found.repaired]
    if repaired:
        most = 1.0 / (1.0 - objective.target)
        parts = (
            f"{found.window.severity.value} over {format_duration(found.window.long_s)} fires above"
            f" {found.factor:.3g} in place of {found.workbook:.3g}"
            for found in repaired
        )
        yield (
            f"model {model.name}, {objective.key}: at {format_share(objective.target)} the burn rate"
            f" is at most {most:.3g}, so the usual factors would need more than {MOST_BAD:.0%} bad events or"
            f" could not fire at all; {'; '.join(parts)}"
        )


def _late(model: ModelSpec, objective: Objective, grace_s: float) -> Iterator[str]:
    """Where a whole short window passes until all that happened in it is told."""
    shortest_s = min(found.window.short_s for found in factors(objective))
    if shortest_s <= grace_s:
        yield (
            f"model {model.name}, {objective.key}: its sources tell up to {format_duration(grace_s)} late, so its"
            f" alerts fire and end that much later, and go by the last {format_duration(grace_s)} in place of"
            f" {format_duration(shortest_s)}"
        )

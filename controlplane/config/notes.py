"""What is no fault of a configuration, but better known: alerts that fire otherwise, or later, than is usual."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.alert_notes import alert_notes
from controlplane.config.settings import Settings
from controlplane.config.units import format_duration, format_share
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import Objective
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

"""What is no fault of a configuration, but better known: alerts whose usual factor could never be reached."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.units import format_duration, format_share
from controlplane.domain.fleet import Fleet
from controlplane.slo.burn import MOST_BAD, factors


def notes(fleet: Fleet) -> Iterator[str]:
    """One line for each objective with a burn alert that is made to fire earlier than its budget share asks for."""
    for model in fleet.models:
        for objective in model.objectives:
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

"""Workloads as a table; below it why it is not known which servers they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import duration
from controlplane.cli.tables import UNKNOWN, escape, new_table

_PHASES = ("ready", "starting", "terminating")


def workloads_table(workloads: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Workloads with their servers by phase, and how old that is."""
    table = new_table("Workloads", "workload", "kind", *_PHASES, "listed", "found by")
    for workload in workloads:
        members = workload["members"]
        found = members["value"] or {}
        stale = "[yellow]" if members["state"] == "stale" else ""
        age = (
            UNKNOWN if members["age_s"] is None else f"{stale}{duration(members['age_s'])} ago{'[/]' if stale else ''}"
        )
        table.add_row(
            escape(workload["name"]),
            workload["kind"],
            *(UNKNOWN if phase not in found else str(found[phase]) for phase in _PHASES),
            age,
            escape(workload["found_by"]),
        )
    return Group(table, *_gaps(workloads))


def _gaps(workloads: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for workload in workloads:
        members = workload["members"]
        if members["state"] != "known":
            yield f"[dim]{escape(workload['name'])}: servers {members['state']}: {escape(members['why'])}[/]"

"""Workloads as a table; below it what is not known of their servers, and what stands against their replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import duration
from controlplane.cli.tables import UNKNOWN, escape, new_table

_PHASES = ("ready", "starting", "draining", "terminating")


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
    return Group(table, *_gaps(workloads), *_obstacles(workloads))


def _gaps(workloads: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for workload in workloads:
        members = workload["members"]
        if members["state"] != "known":
            yield f"[dim]{escape(workload['name'])}: servers {members['state']}: {escape(members['why'])}[/]"


def _obstacles(workloads: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for workload in workloads:
        name, waiting = escape(workload["name"]), workload["unscheduled"]
        if owner := workload["owner"]:
            yield f"[yellow]{name}: {escape(owner)} scales {escape(workload['scales'])}: replicas are told only[/]"
        if warning := workload["warning"]:
            yield f"[yellow]{name}: {escape(warning)}[/]"
        for why in sorted({pod["why"] for pod in waiting}):
            count = sum(pod["why"] == why for pod in waiting)
            yield f"[yellow]{name}: no node takes {count} replica{'' if count == 1 else 's'}: {escape(why)}[/]"

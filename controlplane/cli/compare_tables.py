"""Recommendations beside what came, as a table; below it how many came how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import clock_time
from controlplane.cli.tables import UNKNOWN, escape, new_table

_CAME = {"short": "[red]short[/]", "spare": "[yellow]spare[/]", "unknown": "[dim]unknown[/]"}


def comparisons_table(compared: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What was recommended, what was there when its time had passed, and how objectives were attained meanwhile."""
    if not compared:
        return "[bold]Recommendations[/]: none whose time has passed"
    numbers = ("before", "recommended", "was", "wanted")
    table = new_table("Recommendations", "id", "at (UTC)", "model", "server", *numbers, "came", "attained")
    for one in compared:
        table.add_row(
            one["id"],
            clock_time(one["at"]),
            escape(one["model"]),
            escape(one["server"]),
            *(UNKNOWN if one[name] is None else str(one[name]) for name in numbers),
            _CAME.get(one["came"], one["came"]),
            ", ".join(_attained(part) for part in one["attainment"]) or UNKNOWN,
        )
    counts = Counter(one["came"] for one in compared)
    return Group(table, "[dim]" + ", ".join(f"{count} {came}" for came, count in sorted(counts.items())) + "[/]")


def _attained(part: Mapping[str, Any]) -> str:
    share = UNKNOWN if part["attainment"] is None else f"{100 * part['attainment']:.2f} %"
    return f"{escape(part['objective'])} {share}"

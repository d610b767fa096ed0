"""Learned start-up times, by model, workload and knob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from controlplane.cli.output import duration
from controlplane.cli.tables import escape, new_table


def startups_table(models: Sequence[Mapping[str, Any]]) -> Table | None:
    """How long what adds capacity takes; None where no start-up was seen."""
    learned = [(model["name"], times) for model in models for times in model["startups"]]
    if not learned:
        return None
    table = new_table("Start-up times", "model", "workload", "knob", "half within", "9 of 10 within", "seen")
    for name, times in learned:
        seen = f"{times['seen']} [dim](and {times['assumed']} assumed)[/]" if times["assumed"] else str(times["seen"])
        workload, knob = escape(times["workload"]) or "[dim]-[/]", times["knob"].replace("_", " ")
        table.add_row(escape(name), workload, knob, _took(times["p50_s"]), _took(times["p90_s"]), seen)
    return table


def _took(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)

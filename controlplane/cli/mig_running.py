"""MIG layouts of a running control plane, drawn for a terminal: now, planned, and whether the plan pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from controlplane.cli.mig_drawing import Drawn, bars
from controlplane.cli.output import counted
from controlplane.cli.tables import escape, new_table


def running(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The answer of GET /api/v1/mig, drawn."""
    gpus = found["gpus"]
    if gpus["state"] == "missing":
        yield f"GPUs are not known: {escape(gpus['why'])}"
    elif not gpus["value"]:
        yield "no GPU is seen"
    else:
        yield bars(drawn for gpu in gpus["value"] for drawn in _drawn(gpu))
    if found["models"]:
        yield _models(found["models"])
    yield from _plan(found["plan"])
    yield from _change(found)


def _drawn(gpu: Mapping[str, Any]) -> Iterator[Drawn]:
    """One bar of a GPU that stays as it is, two of one that is to be cut anew."""
    below = gpu["board"] or gpu["name"]
    if gpu["why"]:
        below = f"{below}: {gpu['why']}"
    yield Drawn(gpu["uuid"], below, gpu["units"], _pieces(gpu["now"]))
    if gpu["created"] or gpu["destroyed"]:
        yield Drawn("", "planned", gpu["units"], _pieces(gpu["planned"]))


def _pieces(slices: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, int, str, tuple[str, ...]], ...]:
    return tuple((piece["start"], piece["size"], piece["profile"], tuple(piece["models"])) for piece in slices)


def _models(models: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = new_table("models", "model", "demand/s", "short now/s", "short as planned/s", "")
    for model in models:
        demand = model["demand_per_s"]
        figures = (demand["value"], model["short_now_per_s"], model["short_planned_per_s"])
        shown = ("" if figure is None else f"{figure:.3g}" for figure in figures)
        table.add_row(escape(model["name"]), *shown, escape(model["why"] or demand["why"]))
    return table


def _plan(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["value"] is None:
        yield f"no plan: {escape(plan['why'])}"
        return
    told = plan["value"]
    verdict = "[green]pays[/]" if told["pays"] else "nothing to do" if not told["steps"] else "[yellow]does not pay[/]"
    changed = counted(told["changed_slices"], "slice")
    cost = f"cost {told['cost']:g} (not below {told['bound']:g}), {changed} changed"
    yield f"plan of {plan['age_s']:.0f} s ago: {verdict}; {cost}"
    for reason in told["reasons"]:
        yield f"  {escape(reason)}"


def _change(found: Mapping[str, Any]) -> Iterator[str]:
    if found["held"]:
        yield f"it is not carried out: {escape(found['held'])}"
    change = found["change"]
    if change is None:
        return
    colour = {"failed": "red", "held": "yellow", "reset_required": "yellow"}.get(change["state"], "green")
    state = change["state"].replace("_", " ")
    why = f": {escape(change['why'])}" if change["why"] else ""
    yield f"last change: [{colour}]{state}[/], {change['done']} of {counted(change['steps'], 'step')}{why}"

"""MIG layouts drawn for a terminal: each GPU as a bar of its memory units, each slice as wide as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from controlplane.cli.output import counted, printable
from controlplane.cli.tables import escape, new_table
from controlplane.decide.mig import Gpu, MigPlan, MigStep
from controlplane.decide.mig.layouts import Layout

_WIDTH = 72
"""Characters of a whole GPU, a multiple of the units that boards have."""
_SHADES = ("black on bright_green", "black on bright_cyan", "black on bright_yellow", "black on bright_magenta")

Named = Mapping[tuple[str, str, int], Sequence[str]]
"""Models by the UUID, profile and start of the slice that they are on."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One bar: what stands beside it, how many units it has, and slices as (start, size, profile, models)."""

    name: str
    below: str
    units: int
    pieces: Sequence[tuple[int, int, str, Sequence[str]]]


def drawing(gpus: Sequence[Gpu], layouts: Mapping[str, Layout], models: Named) -> RenderableType:
    """A bar for each GPU, by UUID; below a slice's profile the models that are on it, where that is known."""
    return bars(
        Drawn(
            gpu.uuid,
            gpu.board.key,
            gpu.board.units,
            [
                (p.start, gpu.board.size(p), p.profile, models.get((gpu.uuid, p.profile, p.start), ()))
                for p in layouts[gpu.uuid]
            ],
        )
        for gpu in sorted(gpus, key=lambda gpu: gpu.uuid)
    )


def bars(drawn: Iterable[Drawn]) -> RenderableType:
    """One below the other. What has no units has no bar."""
    table = Table.grid(padding=(0, 2))
    for one in drawn:
        beside = f"[bold]{escape(one.name)}[/]\n[dim]{escape(one.below)}[/]" if one.name else f"[dim]{one.below}[/]"
        table.add_row(beside, _bar(one) if one.units else "")
    return table


def _bar(drawn: Drawn) -> Text:
    wide = _WIDTH // drawn.units
    above, below = Text(), Text()
    at = 0
    for i, (start, size, profile, models) in enumerate(sorted(drawn.pieces)):
        shade = _SHADES[i % len(_SHADES)]
        for line in (above, below):
            line.append(_free(start - at, wide), "dim")
        above.append(_cell(profile, size * wide), shade)
        below.append(_cell(", ".join(map(printable, models)), size * wide), shade)
        at = start + size
    for line in (above, below):
        line.append(_free(drawn.units - at, wide), "dim")
    return Text("\n").join([above, below])


def _cell(text: str, width: int) -> str:
    """A slice's text between edges, cut where it is too long."""
    inside = width - 2
    cut = text if len(text) <= inside else text[: inside - 1] + "…"
    return f"[{cut:^{inside}}]"


def _free(units: int, wide: int) -> str:
    return ("·" * (wide - 1) + " ") * units


def steps_table(steps: Sequence[MigStep]) -> Iterator[RenderableType]:
    """What to do, wave by wave; nothing where all is as it should be."""
    if not steps:
        return
    table = new_table("steps", "wave", "what", "GPU", "slice", "model", "")
    for step in steps:
        piece = step.place.piece
        notes = [*(["meanwhile"] if step.temporary else []), *(["[red]interrupts[/]"] if step.interrupts else [])]
        where = f"{piece.profile} at {piece.start}"
        table.add_row(
            str(step.wave), step.act.value, escape(step.place.uuid), where, escape(step.model), ", ".join(notes)
        )
    yield table


def plan_lines(plan: MigPlan) -> Iterator[str]:
    """What is not served, what it comes to, and how good that is."""
    for fault in sorted(set(plan.faults)):
        yield f"[red]the solver failed[/], so a better plan may be missed: {escape(fault)}"
    for short in plan.unserved:
        yield f"[red]not served[/]: {short.short:g}/s of {escape(short.model)} ({short.why.value})"
    cost = plan.cost
    if plan.unserved and not plan.assignments:
        yield "no model has a place: no GPU is used"
    else:
        proved = "proved to be the least" if plan.optimal else f"not proved to be the least; bound {cost.bound:g}"
        of = " for what is served" if plan.unserved else ""
        yield f"{counted(plan.gpus_used, 'GPU')} used, cost {cost.value:g}, {proved}{of}"
    changed = next((goal for goal in plan.goals if goal.name == "changed_slices"), None)
    if changed is not None:
        least = "the fewest" if changed.gap == 0 else f"at least {changed.bound:g} are needed"
        yield f"{counted(round(changed.value), 'slice')} created or destroyed ({least})"

"""Tables of a simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from controlplane.cli.tables import UNKNOWN, escape, new_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from controlplane.sim.front import Front, Point, Range
    from controlplane.sim.world import World


def summary(trace: str, world: World) -> str:
    """What was simulated, in a sentence."""
    return (
        f"{escape(trace)}: {len(world.requests):,} requests ({world.factor:.3g} times the trace), start-up "
        f"{world.startup.mean_s:g} s, {world.serving.objective}; every policy starts with {world.initial} replicas"
    )


def points(fronts: Mapping[str, Front], *, swept: bool) -> RenderableType:
    """One row a contender: what it costs at each target where swept, and figures of one point."""
    from controlplane.sim.front import TARGETS, contender

    costs = [f"GPU-hours\nat {target:.0%}" for target in TARGETS] if swept else ["GPU-hours"]
    figures = ("attained", "worst\n5 min", "actions", "flips", "wasted\nstarts", "knob", "of")
    table = new_table("Policies", "policy", *costs, *figures)
    for front in fronts.values():
        point, of = front.chosen(), contender(front.name)
        cheapest: Iterable[Point | None] = [front.cheapest(target) for target in TARGETS] if swept else [point]
        table.add_row(
            escape(f"{front.name}: {of.title}"),
            *(UNKNOWN if found is None else _spread(found.range("gpu_hours"), "{:.1f}") for found in cheapest),
            _spread(point.range("attainment"), "{:.2%}"),
            f"{point.range('worst_5min').mean:.1%}",
            f"{point.range('actions').mean:.0f}",
            f"{point.range('flips').mean:.0f}",
            f"{point.range('wasted_starts').mean:.0f}",
            f"{point.knob:.3g}",
            escape(of.knob),
        )
    return table


def harm(world: World, fronts: Mapping[str, Front], hurt: Mapping[str, Point]) -> RenderableType:
    """One row a contender: the point above under faults, and what they did to it."""
    from controlplane.sim.front import contender
    from controlplane.sim.front import harm as harm_of

    columns = ("policy", "attained", "lost", "worst\n5 min", "GPU-hours", "wasted", "knob")
    table = new_table(f"Under {', '.join(map(str, world.faults))}", *columns)
    for name, point in hurt.items():
        done = harm_of(fronts[name].chosen(), point)
        table.add_row(
            escape(f"{name}: {contender(name).title}"),
            _spread(point.range("attainment"), "{:.2%}"),
            _spread(done.attainment_lost, "{:.2%}"),
            f"{point.range('worst_5min').mean:.1%}",
            _spread(point.range("gpu_hours"), "{:.1f}"),
            _spread(done.gpu_hours_wasted, "{:.1f}"),
            f"{point.knob:.3g}",
        )
    return table


def _spread(of: Range, form: str) -> str:
    """The mean, and below it from the least to the most where draws differ."""
    mean, least, most = (form.format(value) for value in (of.mean, of.least, of.most))
    return mean if least == most else f"{mean}\n[dim]{least} - {most}[/]"

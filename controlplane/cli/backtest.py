"""controlplane backtest: what another policy, objective or bound would have done on the store's own history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import print_json
from controlplane.cli.progress import progress
from controlplane.cli.simulate_inputs import check_folder, not_allowed, seconds, sim_extra, write

if TYPE_CHECKING:
    from rich.console import RenderableType

    from controlplane.config.settings import Settings
    from controlplane.sim.backtest import Variation
    from controlplane.sim.front import Front, Point
    from controlplane.sim.past import Learned, Scaled, Stretch
    from controlplane.sim.service import StartUp
    from controlplane.sim.world import World

_FIGURES = ("gpu_hours", "attainment", "worst_5min", "actions", "flips")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backtest")(backtest)


def backtest(
    *,
    config: Config = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option("--since", help="How long ago the stretch begins.")] = "7d",
    until: Annotated[str, typer.Option("--until", help="How long ago it ends.")] = "0h",
    workload: Annotated[str, typer.Option("--workload", help="Which one; left out: the only one scaled.")] = "",
    planned_burn: Annotated[
        list[float] | None,
        typer.Option("--planned-burn", help="Run also with this policy.planned_burn; may be repeated."),
    ] = None,
    most: Annotated[int | None, typer.Option("--max", help="Run also with this replicas.max.")] = None,
    target: Annotated[str, typer.Option("--target", help="Run also with this target, such as 99%.")] = "",
    startup: Annotated[
        str, typer.Option("--startup", help="How long replicas take to start; left out: as learned.")
    ] = "",
    prompt_tokens: Annotated[
        int | None, typer.Option("--prompt-tokens", min=1, help="Of a request, on average; left out: as learned.")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option("--output-tokens", min=1, help="Of a request, on average; left out: as learned.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn: arrivals and start-up times.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write a page with plots to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Run the configured policy, and others, over a workload's own history in virtual time."""
    check_folder(out)
    with sim_extra():
        from controlplane.sim import backtest as run
        from controlplane.sim import past, report
    from controlplane.config import load_settings
    from controlplane.loop.clock import wall_clock
    from controlplane.store import open_store

    settings = load_settings(config)
    now = wall_clock()
    start, end = now - seconds("--since", since), now - (0.0 if until in ("0", "0h") else seconds("--until", until))
    if end <= start:
        raise not_allowed("--until", until, f"less than --since, {since}, is allowed")
    of = past.scaled(settings, workload)
    store = open_store(settings.store_url, create=False)
    try:
        state = past.state_of(store, of)
        stretch = past.stretch(settings, of, store, start, end)
        decided = past.decided(of, store, stretch.since, stretch.until)
    finally:
        store.close()
    learned = past.learned(of, state, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    starts = _startup(startup, state.startups, of)
    peak = max(1, int(decided.max())) if len(decided) else of.bounds.most
    variations = _variations(settings, of, learned, planned_burn or (), most, target)
    world = run.past_world(stretch, learned, starts, peak, seed)
    with progress() as bar:
        task = bar.add_task("simulating", total=len(variations) + 1 + bool(len(decided)))
        fronts = run.backtest(world, variations, decided, lambda: bar.advance(task))
    told = _told(of, stretch, learned, world, decided=len(decided) > 0)
    if out is not None:
        write(out, report.render(told.workload, world, fronts, {}, about=told.about))
    if as_json:
        print_json(asdict(told) | {"runs": {name: _figures(front.chosen()) for name, front in fronts.items()}})
        return
    from controlplane.cli.tables import escape, show

    show(escape(told.about), _table(fronts))
    if out is not None:
        show(f"written to {escape(str(out))}")


@dataclass(frozen=True, slots=True)
class _Told:
    """What was run. Times are unix seconds."""

    workload: str
    since: float
    until: float
    requests: int
    minutes: int
    measured_minutes: int
    peak_replicas: int
    startup_s: float
    objective: str
    notes: Sequence[str]

    @property
    def about(self) -> str:
        """In sentences."""
        gaps = self.minutes - self.measured_minutes
        filled = f"; {gaps} min were not and are run as the mean of their neighbours" if gaps else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.workload}: {self.requests:,} requests in {self.minutes} min, of which "
            f"{self.measured_minutes / self.minutes:.1%} were measured{filled}. Start-up {self.startup_s:.3g} s, "
            f"{self.objective}{notes}. Arrivals inside a minute are drawn, and it is the simulator that judges: "
            "compare rows with each other, not with what was measured."
        )


def _told(of: Scaled, past: Stretch, learned: Learned, world: World, *, decided: bool) -> _Told:
    return _Told(
        of.spec.name,
        past.since,
        past.until,
        len(world.requests),
        len(past.per_minute),
        past.measured,
        world.peak_replicas,
        world.startup.mean_s,
        world.serving.objective,
        learned.words if decided else (*learned.words, "no decision of that time is stored"),
    )


def _startup(option: str, seen: Sequence[float], of: Scaled) -> StartUp:
    """As given, else the mean of those that were seen."""
    from controlplane.domain.errors import PermanentError
    from controlplane.sim.service import StartUp

    if option:
        return StartUp(seconds("--startup", option))
    if not seen:
        raise PermanentError(f"workload {of.spec.name!r}: no start-up was seen yet: tell how long with --startup")
    return StartUp(sum(seen) / len(seen))


def _variations(
    settings: Settings, of: Scaled, learned: Learned, burns: Sequence[float], most: int | None, target: str
) -> list[Variation]:
    """As configured, and with each option instead, one at a time."""
    from controlplane.config.units import parse_share
    from controlplane.sim.backtest import Variation
    from controlplane.sim.runner import Bounds

    bounds = Bounds(max(1, of.bounds.least), of.bounds.most)
    ours = Variation("as configured", settings.policy, learned.target, bounds)
    found = [ours]
    for burn in burns:
        if not 0 < burn < float("inf"):
            raise not_allowed("--planned-burn", str(burn), "above 0 is allowed")
        found.append(replace(ours, title=f"planned_burn {burn:g}", policy=replace(ours.policy, planned_burn=burn)))
    if most is not None:
        if most < bounds.least:
            raise not_allowed("--max", str(most), f"at least replicas.min, {bounds.least}, is allowed")
        found.append(replace(ours, title=f"max {most}", bounds=replace(bounds, most=most)))
    if target:
        try:
            found.append(replace(ours, title=f"target {target}", target=parse_share(target)))
        except ValueError as error:
            raise not_allowed("--target", target, str(error)) from None
    return found


def _figures(point: Point) -> dict[str, Any]:
    return {figure: getattr(point.outcome, figure) for figure in _FIGURES}


def _table(fronts: Mapping[str, Front]) -> RenderableType:
    from controlplane.cli.tables import escape, new_table

    table = new_table("Would have been", "run", "GPU-hours", "attained", "worst\n5 min", "actions", "flips")
    for front in fronts.values():
        of = front.chosen().outcome
        figures = (
            f"{of.gpu_hours:.1f}",
            f"{of.attainment:.2%}",
            f"{of.worst_5min:.1%}",
            str(of.actions),
            str(of.flips),
        )
        table.add_row(escape(front.contender.title), *figures)
    return table

"""controlplane simulate: what scaling policies do on real load, in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Json
from controlplane.cli.output import print_json
from controlplane.cli.progress import progress
from controlplane.cli.simulate_inputs import (
    check_folder,
    load_of,
    names_of,
    not_allowed,
    seconds,
    serving_of,
    sim_extra,
    write,
)
from controlplane.cli.simulate_models import simulate_models, unused

if TYPE_CHECKING:
    from controlplane.sim import faults
    from controlplane.sim.front import Front, Point
    from controlplane.sim.world import World

_MOST_SEEDS = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    *,
    trace: Annotated[
        str,
        typer.Option("--trace", help="conv, code, reasoning, functions:NAME, or a file (CSV, CSV.GZ, parquet)."),
    ] = "",
    models: Annotated[
        Path | None,
        typer.Option("--models", help="In place of a trace: a file of several models that share a quota of GPUs."),
    ] = None,
    policy: Annotated[str, typer.Option("--policy", help="Policies and bounds, by comma; left out: all.")] = "",
    startup: Annotated[str, typer.Option("--startup", help="How long replicas take to start, on average.")] = "90s",
    knob: Annotated[float | None, typer.Option("--knob", help="The one policy's knob; left out: its preset.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Sweep every policy over its knob.")] = False,
    peak_replicas: Annotated[int, typer.Option("--peak-replicas", help="What the busiest minute is to need.")] = 20,
    since: Annotated[str, typer.Option("--since", help="Leave out what comes before, such as 2h.")] = "",
    until: Annotated[str, typer.Option("--until", help="Leave out what comes after, such as 5h.")] = "",
    burst: Annotated[
        float | None,
        typer.Option("--burst", help="Variation of gaps inside the minutes of functions; left out: 1, as Poisson."),
    ] = None,
    ttft: Annotated[str, typer.Option("--ttft", help="Time to the first token; left out: 1s, on reasoning 5s.")] = "",
    itl: Annotated[str, typer.Option("--itl", help="Mean time between tokens.")] = "50ms",
    latency: Annotated[str, typer.Option("--latency", help="Time to the answer, of services on Triton.")] = "100ms",
    service: Annotated[
        str,
        typer.Option(
            "--service",
            help="Model and GPUs of a replica, of those that were measured; left out: llama-3.1-8b-a100-tp2, "
            "of functions bert-large-t4-onnx.",
        ),
    ] = "",
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="What goes wrong, from when on and how long: frozen@20m+10m; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn: arrivals and start-up times.")] = 0,
    seeds: Annotated[int, typer.Option("--seeds", help="Run everything on so many draws, from --seed on.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Write a page with plots to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Run scaling policies over a trace in virtual time and tell attainment and GPU-hours."""
    _check(peak_replicas, seed, seeds, knob, out)
    with sim_extra():
        from controlplane.sim import document, front, report, world
        from controlplane.sim.service import StartUp

    if models is not None:
        unused((("--trace", trace), ("--sweep", sweep), ("--since", since), ("--until", until), ("--burst", burst)))
        unused((("--ttft", ttft), ("--service", service), ("--fault", fault), ("--seeds", seeds > 1)))
        simulate_models(models, policy, knob, startup, seed, out, as_json=as_json)
        return
    if not trace:
        raise not_allowed("--trace", "nothing", "a trace, or --models")
    serving = serving_of(service, trace, ttft, itl, latency)
    names = names_of(policy, front.contenders(serving))
    if knob is not None and (sweep or len(names) != 1):
        raise not_allowed("--knob", str(knob), "it goes with one --policy and without --sweep")
    goes_wrong = tuple(_faults(fault or ()))
    starts = StartUp(seconds("--startup", startup))
    with progress() as bar:
        task = bar.add_task("reading and scaling the trace", total=None)
        load, before = load_of(trace, since, until, burst)
        made = world.make_world(load, serving, startup=starts, peak_replicas=peak_replicas, seed=seed, before=before)
        draws = world.draws(made, load, seeds)
        bar.update(task, description="simulating", total=len(names) * seeds, completed=0)
        fronts = _fronts(
            draws, names, knob, lambda done, most: bar.update(task, completed=done, total=most), sweep=sweep
        )
        bar.update(task, description="simulating faults", total=len(names) * seeds, completed=0)
        hurt = _hurt(draws, fronts, goes_wrong, lambda: bar.advance(task))
    made = replace(made, faults=goes_wrong)
    if out is not None:
        write(out, report.render(trace, made, fronts, hurt))
    if as_json:
        print_json(document.document(trace, made, fronts, hurt))
        return
    from controlplane.cli import simulate_tables as tables
    from controlplane.cli.tables import escape, show

    show(tables.summary(trace, made), tables.points(fronts, swept=sweep))
    if hurt:
        show(tables.harm(made, fronts, hurt))
    if out is not None:
        show(f"written to {escape(str(out))}")


def _faults(texts: Sequence[str]) -> Iterator[faults.Fault]:
    from controlplane.config.units import parse_duration
    from controlplane.sim.faults import parse_fault

    for text in texts:
        try:
            yield parse_fault(text, parse_duration)
        except ValueError as error:
            raise not_allowed("--fault", text, str(error)) from None


def _fronts(
    draws: Sequence[World],
    names: Sequence[str],
    knob: float | None,
    told: Callable[[int, int], None],
    *,
    sweep: bool,
) -> dict[str, Front]:
    """Every policy at its knob, or swept over it."""
    from controlplane.sim import front

    workers = os.cpu_count() or 1
    if sweep:
        return front.sweep(draws, names, workers, told)
    jobs = [(name, front.contender(name).preset(draws[0]) if knob is None else knob) for name in names]
    done, runs = count(1), len(jobs) * len(draws)
    points = front.run_all(draws, jobs, min(workers, runs), lambda: told(next(done), runs))
    return {point.name: front.Front(point.name, (point,)) for point in points}


def _hurt(
    draws: Sequence[World], fronts: dict[str, Front], goes_wrong: tuple[faults.Fault, ...], told: Callable[[], None]
) -> dict[str, Point]:
    """The chosen points under faults; nothing without any."""
    from controlplane.sim import front

    if not goes_wrong:
        return {}
    jobs = [(name, of.chosen().knob) for name, of in fronts.items()]
    hurt = [replace(world, faults=goes_wrong) for world in draws]
    points = front.run_all(hurt, jobs, min(os.cpu_count() or 1, len(jobs) * len(draws)), told)
    return {point.name: point for point in points}


def _check(peak_replicas: int, seed: int, seeds: int, knob: float | None, out: Path | None) -> None:
    if not 1 <= peak_replicas <= 1000:
        raise not_allowed("--peak-replicas", str(peak_replicas), "1 to 1000 is allowed")
    if seed < 0:
        raise not_allowed("--seed", str(seed), "0 or more is allowed")
    if not 1 <= seeds <= _MOST_SEEDS:
        raise not_allowed("--seeds", str(seeds), f"1 to {_MOST_SEEDS} is allowed")
    if knob is not None and not 0 < knob < float("inf"):
        raise not_allowed("--knob", str(knob), "above 0 is allowed")
    check_folder(out)

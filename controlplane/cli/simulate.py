"""controlplane simulate: what scaling policies do on real load, in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.options import Json
from controlplane.cli.output import print_json
from controlplane.cli.progress import progress
from controlplane.domain.errors import ConfigurationError, Fault, PermanentError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from controlplane.sim.front import Front, Point
    from controlplane.sim.serving import Serving
    from controlplane.sim.trace import Requests
    from controlplane.sim.world import World

_SLOW_FIRST_TOKEN = {"reasoning": "5s"}
"""Traces on which prefill alone takes some requests more than the usual 1 s."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    *,
    trace: Annotated[str, typer.Option("--trace", help="conv, code, reasoning, or a file (CSV, CSV.GZ, parquet).")],
    policy: Annotated[str, typer.Option("--policy", help="Policies and bounds, by comma; left out: all.")] = "",
    startup: Annotated[str, typer.Option("--startup", help="How long replicas take to start, on average.")] = "90s",
    knob: Annotated[float | None, typer.Option("--knob", help="The one policy's knob; left out: its preset.")] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Sweep every policy over its knob.")] = False,
    peak_replicas: Annotated[int, typer.Option("--peak-replicas", help="What the busiest minute is to need.")] = 20,
    since: Annotated[str, typer.Option("--since", help="Leave out what comes before, such as 2h.")] = "",
    until: Annotated[str, typer.Option("--until", help="Leave out what comes after, such as 5h.")] = "",
    ttft: Annotated[str, typer.Option("--ttft", help="Time to the first token; left out: 1s, on reasoning 5s.")] = "",
    itl: Annotated[str, typer.Option("--itl", help="Mean time between tokens.")] = "50ms",
    latency: Annotated[str, typer.Option("--latency", help="Time to the answer, of services of Triton.")] = "100ms",
    service: Annotated[
        str, typer.Option("--service", help="Model and GPUs of a replica, of those that were measured.")
    ] = "llama-3.1-8b-a100-tp2",
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn: arrivals and start-up times.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write a page with plots to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Run scaling policies over a trace in virtual time and tell attainment and GPU-hours."""
    _check(peak_replicas, seed, knob, out)
    with _sim_extra():
        from controlplane.sim import front, report, world
        from controlplane.sim.peers.registry import POLICIES
        from controlplane.sim.service import StartUp

    names = _names(policy, (*POLICIES, *front.BOUNDS))
    if knob is not None and (sweep or len(names) != 1):
        raise _fault("--knob", str(knob), "it goes with one --policy and without --sweep")
    serving = _serving(service, ttft or _SLOW_FIRST_TOKEN.get(trace, "1s"), itl, latency)
    starts = StartUp(_seconds("--startup", startup))
    with progress() as bar:
        task = bar.add_task("reading and scaling the trace", total=None)
        made = world.make_world(
            _requests(trace, since, until), serving, startup=starts, peak_replicas=peak_replicas, seed=seed
        )
        bar.update(task, description="simulating", total=len(names), completed=0)
        fronts = _fronts(
            made, names, knob, lambda done, most: bar.update(task, completed=done, total=most), sweep=sweep
        )
    if out is not None:
        _write(out, report.render(trace, made, fronts))
    if as_json:
        print_json(_document(trace, made, fronts))
        return
    from controlplane.cli.tables import escape, show

    show(_summary(trace, made), _table(fronts, swept=sweep))
    if out is not None:
        show(f"written to {escape(str(out))}")


def _serving(service: str, ttft: str, itl: str, latency: str) -> Serving:
    """Replicas of vLLM or Triton, by the name of what was measured, and their objective."""
    from controlplane.sim.peers.perf_model import LatencySlo, Slo
    from controlplane.sim.service import BATCH_SERVICES, LLM_SERVICES
    from controlplane.sim.serving import BatchServing, LlmServing

    if service in BATCH_SERVICES:
        return BatchServing(BATCH_SERVICES[service], LatencySlo(_seconds("--latency", latency)))
    if service not in LLM_SERVICES:
        raise _fault("--service", service, f"one of these is allowed: {', '.join((*LLM_SERVICES, *BATCH_SERVICES))}")
    return LlmServing(LLM_SERVICES[service], Slo(_seconds("--ttft", ttft), _seconds("--itl", itl)))


def _requests(trace: str, since: str, until: str) -> Requests:
    """The trace, or a part of it."""
    from controlplane.sim.trace import load

    requests = load(trace)
    since_s = _seconds("--since", since) if since else 0.0
    until_s = _seconds("--until", until) if until else requests.span_s + 1
    return requests.part(since_s, until_s) if since or until else requests


def _fronts(
    world: World, names: Sequence[str], knob: float | None, told: Callable[[int, int], None], *, sweep: bool
) -> dict[str, Front]:
    """Every policy at its knob, or swept over it."""
    from controlplane.sim import front

    workers = os.cpu_count() or 1
    if sweep:
        return front.sweep(world, names, workers, told)
    jobs = [(name, front.contender(name).preset(world) if knob is None else knob) for name in names]
    done = count(1)
    points = front.run_all(world, jobs, min(workers, len(jobs)), lambda: told(next(done), len(jobs)))
    return {point.name: front.Front(point.name, (point,)) for point in points}


@contextmanager
def _sim_extra() -> Iterator[None]:
    """Raises PermanentError where the simulator's libraries are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PermanentError(f"the extra [sim] is not installed: {error.name} is missing") from None


def _check(peak_replicas: int, seed: int, knob: float | None, out: Path | None) -> None:
    if not 1 <= peak_replicas <= 1000:
        raise _fault("--peak-replicas", str(peak_replicas), "1 to 1000 is allowed")
    if seed < 0:
        raise _fault("--seed", str(seed), "0 or more is allowed")
    if knob is not None and not 0 < knob < float("inf"):
        raise _fault("--knob", str(knob), "above 0 is allowed")
    if out is not None and not out.absolute().parent.is_dir():
        raise _fault("--out", str(out), "a file in a folder that is there is allowed")


def _names(policy: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in policy.split(",") if name.strip()] or list(known)
    for name in names:
        if name not in known:
            raise _fault("--policy", name, f"these are allowed, by comma: {', '.join(known)}")
    return list(dict.fromkeys(names))


def _seconds(option: str, text: str) -> float:
    from controlplane.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise _fault(option, text, str(error)) from None


def _fault(option: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("command line", (Fault(option, value, allowed),))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror}") from None


def _summary(trace: str, world: World) -> str:
    from controlplane.cli.tables import escape

    return (
        f"{escape(trace)}: {len(world.requests):,} requests ({world.factor:.3g} times the trace), start-up "
        f"{world.startup.mean_s:g} s, {world.serving.objective}; every policy starts with {world.initial} replicas"
    )


def _table(fronts: dict[str, Front], *, swept: bool) -> RenderableType:
    """One row a contender: what it costs at each target where swept, and figures of one point."""
    from controlplane.cli.tables import UNKNOWN, escape, new_table
    from controlplane.sim.front import TARGETS, contender
    from controlplane.sim.report import chosen

    costs = [f"GPU-hours\nat {target:.0%}" for target in TARGETS] if swept else ["GPU-hours"]
    figures = ("attained", "worst\n5 min", "actions", "flips", "wasted\nstarts", "knob", "of")
    table = new_table("Policies", "policy", *costs, *figures)
    for front in fronts.values():
        point, of = chosen(front), contender(front.name)
        cheapest: Iterable[Point | None] = [front.cheapest(target) for target in TARGETS] if swept else [point]
        outcome = point.outcome
        table.add_row(
            escape(f"{front.name}: {of.title}"),
            *(UNKNOWN if found is None else f"{found.outcome.gpu_hours:.1f}" for found in cheapest),
            f"{outcome.attainment:.2%}",
            f"{outcome.worst_5min:.1%}",
            *map(str, (outcome.actions, outcome.flips, outcome.wasted_starts)),
            f"{point.knob:.3g}",
            escape(of.knob),
        )
    return table


def _document(trace: str, world: World, fronts: dict[str, Front]) -> dict[str, Any]:
    from controlplane.sim.front import TARGETS

    def told(point: Point | None) -> dict[str, Any] | None:
        if point is None:
            return None
        figures = ("attainment", "gpu_hours", "worst_5min", "actions", "flips", "wasted_starts")
        followed = asdict(world.elasticity(point.outcome.curve.ready))
        return (
            {"knob": point.knob} | {name: getattr(point.outcome, name) for name in figures} | {"elasticity": followed}
        )

    return {
        "trace": trace,
        "requests": len(world.requests),
        "factor": world.factor,
        "peak_replicas": world.peak_replicas,
        "initial_replicas": world.initial,
        "startup_s": world.startup.mean_s,
        **asdict(world.serving.slo),
        "seed": world.seed,
        "policies": {
            name: {
                "points": [told(point) for point in front.points],
                "cheapest": {f"{target:g}": told(front.cheapest(target)) for target in TARGETS},
            }
            for name, front in fronts.items()
        },
    }

"""controlplane slo import: history from a Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import clock_time, complain, counted, duration, print_json
from controlplane.domain.errors import ConfigurationError, Fault

if TYPE_CHECKING:
    from controlplane.config import Settings
    from controlplane.domain.sources import PrometheusSpec
    from controlplane.loop.past import Imported, ImportResult

_LINES = 20
"""So often at most it says how far it is."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    *,
    prometheus: Annotated[str, typer.Option("--prometheus", help="Its name in the configuration.")],
    since: Annotated[str, typer.Option("--since", help="How far back, such as 28d; at most 400d.")] = "28d",
    model: Annotated[list[str] | None, typer.Option("--model", help="One model, may be repeated; else all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look what there is; write nothing.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Fill the history of objectives with what a Prometheus scraped; the control plane must not run meanwhile."""
    import asyncio

    from controlplane.config import load_settings
    from controlplane.loop.clock import wall_clock
    from controlplane.loop.past import LONGEST_S

    settings = load_settings(config)
    spec = _prometheus(settings, prometheus)
    models = tuple(model or ())
    for name in models:
        if settings.fleet.model(name) is None:
            known = ", ".join(m.name for m in settings.fleet.models)
            raise _fault("--model", name, f"one of these is allowed: {known}")
    span_s = _span_s(since, LONGEST_S)
    result = asyncio.run(_import(settings, spec, models, span_s, wall_clock(), dry_run=dry_run))
    if as_json:
        print_json(_document(result, dry_run=dry_run))
    else:
        _show(result, spec, dry_run=dry_run)
    if not any(found.slices for found in result.objectives):
        raise typer.Exit(1)


async def _import(
    settings: Settings, spec: PrometheusSpec, models: tuple[str, ...], span_s: float, now: float, *, dry_run: bool
) -> ImportResult:
    from controlplane.collect.prometheus.api import Prometheus
    from controlplane.loop.past import PastImport
    from controlplane.slo.grace import Grace
    from controlplane.store import alone

    grace = Grace(settings.scrape_interval_s, settings.scrape_timeout_s).asked_s(spec)
    source = Prometheus(spec)
    work = PastImport(settings.fleet, models, source, grace)
    until = now - 2 * grace
    try:
        if dry_run:
            return await work.run(None, until - span_s, until, _progress())
        with alone(settings.store_url, "controlplane slo import") as store:
            store.prune(now)
            return await work.run(store, until - span_s, until, _progress())
    finally:
        source.close()


def _prometheus(settings: Settings, name: str) -> PrometheusSpec:
    known = {spec.name: spec for spec in settings.fleet.prometheus}
    if name not in known:
        allowed = f"one of these is allowed: {', '.join(known)}" if known else "the configuration has no prometheus"
        raise _fault("--prometheus", name, allowed)
    return known[name]


def _span_s(text: str, longest_s: float) -> float:
    from controlplane.config.units import parse_duration

    try:
        span_s = parse_duration(text)
    except ValueError as error:
        raise _fault("--since", text, str(error)) from None
    if span_s > longest_s:
        raise _fault("--since", text, f"at most {longest_s / 86400:g}d is allowed")
    return span_s


def _progress() -> Callable[[float], None]:
    """Says now and then how much is done, on standard error."""
    said = 0

    def progress(share: float) -> None:
        nonlocal said
        if int(share * _LINES) > said:
            said = int(share * _LINES)
            print(f"{share:.0%} done", file=sys.stderr, flush=True)

    return progress


def _show(result: ImportResult, spec: PrometheusSpec, *, dry_run: bool) -> None:
    for found in result.objectives:
        print(f"{found.model} {found.objective.key}: {_told(found)}")
    print("nothing was written (--dry-run)" if dry_run else f"{counted(result.written, 'slice')} of 10 s were new")
    for name, why in result.left_out.items():
        print(f"{name} is not imported: {why}")
    for name, why in result.unread.items():
        complain(f"nothing was read of {name} through Prometheus {spec.name}: {why}")
    if result.scrape_s is not None and result.scrape_s > 1.5 * spec.interval_s:
        complain(
            f"Prometheus {spec.name} scrapes every {result.scrape_s:.0f} s, but its interval is"
            f" {spec.interval_s:g}s in the configuration: what lies further apart counts as unmeasured"
        )


def _told(found: Imported) -> str:
    counts = found.counts
    if found.since is None:
        return "nothing was found"
    share = f"{counts.good / counts.events:.3%} good of {counts.events} events" if counts.events else "no events"
    since = f"since {clock_time(found.since)} UTC ({duration(counts.expected_s)})"
    return f"{since}, {counts.coverage:.1%} of the time measured, {share}"


def _document(result: ImportResult, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "written": result.written,
        "unread": dict(result.unread),
        "left_out": dict(result.left_out),
        "scrape_s": result.scrape_s,
        "objectives": [
            {
                "model": found.model,
                "objective": found.objective.key,
                "since": found.since,
                "slices": found.slices,
                "good": found.counts.good,
                "bad": found.counts.bad,
                "unsure": found.counts.unsure,
                "coverage": found.counts.coverage,
            }
            for found in result.objectives
        ],
    }


def _fault(option: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("command line", (Fault(option, value, allowed),))

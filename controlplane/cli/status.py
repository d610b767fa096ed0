"""controlplane status: the fleet now; live with --watch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.client import Api, RefusedError, path_of
from controlplane.cli.options import DEFAULT_URL, Json, TokenFile, Url, api_of
from controlplane.cli.output import print_json
from controlplane.domain.errors import ControlPlaneError

if TYPE_CHECKING:
    from rich.console import RenderableType

_DECISIONS = 8
_ALERTS = 50

_Items = list[dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks with --watch.")] = 2.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show burn alerts, servers, workloads, models, objectives, GPUs, overrides, freezes and the last decisions."""
    api = api_of(url, token_file)
    if not watch:
        _print(api, as_json=as_json)
        return
    try:
        _watch(api, interval, as_json=as_json)
    except KeyboardInterrupt:
        return


def _print(api: Api, *, as_json: bool) -> None:
    fleet, decisions, alerts = _look(api)
    if as_json:
        # null: they cannot be read while the store is away
        told = {
            "received_alerts": alerts and alerts["received"],
            "received_firing": alerts and alerts["received_firing"],
        }
        print_json(fleet | {"decisions": decisions} | told)
    else:
        from controlplane.cli.tables import show

        show(_page(fleet, decisions, alerts))


def _watch(api: Api, interval_s: float, *, as_json: bool) -> None:
    """On a terminal one page that is drawn anew, and a look that fails is tried again; else one after the other."""
    from rich.live import Live

    from controlplane.cli.tables import console, escape

    out = console()
    if as_json or not out.is_terminal:
        while True:
            _print(api, as_json=as_json)
            time.sleep(interval_s)
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            try:
                live.update(_page(*_look(api)), refresh=True)
            except ControlPlaneError as error:
                live.update(f"[red]{escape(str(error))}[/]", refresh=True)
            time.sleep(interval_s)


def _look(api: Api) -> tuple[dict[str, Any], _Items | None, dict[str, Any] | None]:
    """The fleet, which the loop has in memory, the newest changes, and the alerts that Alertmanagers say fire.

    None while the store cannot be asked.
    """
    fleet = api.get(path_of("fleet"))
    try:
        decisions = api.get(path_of("decisions"), limit=_DECISIONS, changes_only="true")
        return fleet, decisions, api.get(path_of("alerts"), firing="true", limit=_ALERTS)
    except RefusedError as error:
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return fleet, None, None


def _page(fleet: Mapping[str, Any], decisions: _Items | None, alerts: Mapping[str, Any] | None) -> RenderableType:
    from rich.console import Group

    from controlplane.cli import alert_lines, gpu_tables, serving_tables, tables, workload_tables

    generating = serving_tables.serving_table(fleet["models"])
    parts: list[RenderableType] = [
        tables.loop_line(fleet),
        *([untold] if (untold := alert_lines.refusal_lines(fleet)) else []),
        *([firing] if (firing := alert_lines.firing_lines(fleet)) else []),
        *([line] if alerts and (line := alert_lines.received_line(alerts)) else []),
        tables.servers_table(fleet["servers"]),
        *([workload_tables.workloads_table(fleet["workloads"])] if fleet["workloads"] else []),
        tables.models_table(fleet["models"]),
        *([] if generating is None else [generating]),
        tables.objectives_table(fleet["models"]),
        gpu_tables.gpus_table(fleet["gpus"], fleet["gpu_nodes"]),
        tables.people_table(fleet["overrides"], fleet["freezes"]),
        "[bold]Decisions[/]: not read while the store is away"
        if decisions is None
        else tables.decisions_table(decisions),
    ]
    return Group(*(piece for part in parts for piece in (part, "")))

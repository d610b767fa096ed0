"""controlplane alerts: what fires, cannot be judged, or came back from Alertmanagers."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.client import path_of
from controlplane.cli.options import DEFAULT_URL, Json, TokenFile, Url, api_of
from controlplane.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("alerts")(alerts)


def alerts(
    *,
    model: Annotated[str, typer.Option("--model", help="Of one model; left out: of all.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="How many that came back; with --json also events.")
    ] = 50,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """List burn alerts that fire or cannot be judged, and alerts that came back from Alertmanagers, pages first."""
    found = api_of(url, token_file).get(path_of("alerts"), model=model, limit=limit)
    if as_json:
        print_json(found)
        return
    from controlplane.cli.alert_lines import burn_table, received_table
    from controlplane.cli.tables import show

    show(burn_table(found), "", received_table(found))

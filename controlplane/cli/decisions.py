"""controlplane decisions, explain: what was decided and why."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.client import path_of
from controlplane.cli.options import DEFAULT_URL, Json, TokenFile, Url, api_of
from controlplane.cli.output import print_json, printable


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("decisions")(decisions)
    app.command("explain")(explain)


def decisions(
    *,
    model: Annotated[str, typer.Option("--model", help="Of one model; left out: of all.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also those that hold what is there.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Recommendations among them, beside what came.")] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """List decisions, newest first."""
    api = api_of(url, token_file)
    if compare:
        found = api.get(path_of("decisions", "compared"), model=model, limit=limit)
    else:
        found = api.get(path_of("decisions"), model=model, limit=limit, changes_only=str(not everything).lower())
    if as_json:
        print_json(found)
        return
    from controlplane.cli.compare_tables import comparisons_table
    from controlplane.cli.tables import decisions_table, show

    show(comparisons_table(found) if compare else decisions_table(found))


def explain(
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="Of a decision, or a unique beginning of it.")],
    *,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Tell what was seen, what was decided, which constraint bound, what was done and what came of it."""
    found = api_of(url, token_file).get(path_of("decisions", decision_id, "explain"))
    if as_json:
        print_json(found)
    else:
        print("\n".join(printable(line) for line in found["lines"]))

"""controlplane scale, workload: workloads, and instructions about their replicas."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.client import path_of
from controlplane.cli.instructing import Wait, instruct
from controlplane.cli.options import DEFAULT_URL, Json, NumberCommand, Reason, TokenFile, Ttl, Url, api_of
from controlplane.cli.output import counted, print_json

app = typer.Typer(help="Workloads, and instructions about their replicas.", rich_markup_mode=None)

_Workload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Name of the workload.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.command("scale", cls=NumberCommand)(scale)
    root.add_typer(app, name="workload")


@app.callback()
def _group() -> None:
    """Workloads, and instructions about their replicas."""


def scale(
    workload: _Workload,
    replicas: Annotated[int, typer.Argument(metavar="N", min=0, help="How many, inside the workload's bounds.")],
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    wait: Wait = 5.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Fix the number of replicas of a workload for a while."""
    body = {"ttl": ttl, "reason": reason, "replicas": replicas}
    path = path_of("workloads", workload, "replicas")
    instruct(api_of(url, token_file), "PUT", path, body, wait, as_json=as_json)


@app.command("list")
def list_workloads(*, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List workloads with their servers by phase and what people have fixed about their replicas."""
    found = api_of(url, token_file).get(path_of("workloads"))
    if as_json:
        print_json(found)
        return
    from controlplane.cli.tables import people_table, show
    from controlplane.cli.workload_tables import workloads_table

    freezes = {f["id"]: f for workload in found for f in workload["freezes"]}
    overrides = [override for workload in found for override in workload["overrides"]]
    show(workloads_table(found), people_table(overrides, list(freezes.values())))


@app.command("bounds", cls=NumberCommand)
def bounds(
    workload: _Workload,
    least: Annotated[int, typer.Argument(metavar="MIN", min=0, help="Fewest replicas.")],
    most: Annotated[int, typer.Argument(metavar="MAX", min=1, help="Most replicas.")],
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    wait: Wait = 5.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Set other bounds for the replicas of a workload for a while, in place of the configured ones."""
    body = {"ttl": ttl, "reason": reason, "min": least, "max": most}
    instruct(api_of(url, token_file), "PUT", path_of("workloads", workload, "bounds"), body, wait, as_json=as_json)


@app.command("pin")
def pin(
    workload: _Workload,
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Keep the replicas that a workload has for a while."""
    body = {"ttl": ttl, "reason": reason}
    instruct(api_of(url, token_file), "POST", path_of("workloads", workload, "pin"), body, 5.0, as_json=as_json)


@app.command("unpin")
def unpin(workload: _Workload, *, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Withdraw everything that people have fixed about a workload."""
    ended = api_of(url, token_file).call("DELETE", path_of("workloads", workload, "overrides"))
    if as_json:
        print_json(ended)
    else:
        print(f"{workload}: {counted(ended['ended'], 'override')} withdrawn")

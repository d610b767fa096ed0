"""controlplane model: models, and instructions about them."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.client import path_of
from controlplane.cli.instructing import Wait, instruct
from controlplane.cli.options import DEFAULT_URL, Json, NumberCommand, Reason, TokenFile, Ttl, Url, api_of
from controlplane.cli.output import counted, print_json

app = typer.Typer(help="Models, and instructions about them.", rich_markup_mode=None)

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
_Server = Annotated[str, typer.Option("--server", help="One server; left out: every server it runs on.")]


@app.callback()
def _group() -> None:
    """Models, and instructions about them."""


@app.command("list")
def list_models(*, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """List models with their state, instances, demand, objectives and learned start-up times."""
    found = api_of(url, token_file).get(path_of("models"))
    if as_json:
        print_json(found)
        return
    from controlplane.cli.startup_tables import startups_table
    from controlplane.cli.tables import models_table, objectives_table, show

    learned = startups_table(found)
    show(models_table(found), objectives_table(found), *([] if learned is None else [learned]))


@app.command("load")
def load(
    model: _Model,
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    server: _Server = "",
    wait: Wait = 60.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Load a model and keep it loaded for a while."""
    body = {"ttl": ttl, "reason": reason, "server": server}
    instruct(api_of(url, token_file), "POST", path_of("models", model, "load"), body, wait, as_json=as_json)


@app.command("unload")
def unload(
    model: _Model,
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    server: _Server = "",
    wait: Wait = 60.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Unload a model and keep it unloaded for a while."""
    body = {"ttl": ttl, "reason": reason, "server": server}
    instruct(api_of(url, token_file), "POST", path_of("models", model, "unload"), body, wait, as_json=as_json)


@app.command("instances", cls=NumberCommand)
def instances(
    model: _Model,
    count: Annotated[int, typer.Argument(metavar="N", min=0, help="Total per server, inside the model's bounds.")],
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    server: _Server = "",
    wait: Wait = 60.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Fix the instance count of a model for a while."""
    body = {"ttl": ttl, "reason": reason, "server": server, "instances": count}
    instruct(api_of(url, token_file), "PUT", path_of("models", model, "instances"), body, wait, as_json=as_json)


@app.command("pin")
def pin(
    model: _Model,
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    server: _Server = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Keep a model as it is for a while: loaded, with the instances it has."""
    body = {"ttl": ttl, "reason": reason, "server": server}
    instruct(api_of(url, token_file), "POST", path_of("models", model, "pin"), body, 5.0, as_json=as_json)


@app.command("bounds", cls=NumberCommand)
def bounds(
    model: _Model,
    least: Annotated[int, typer.Argument(metavar="MIN", min=1, help="Fewest instances per server.")],
    most: Annotated[int, typer.Argument(metavar="MAX", min=1, help="Most instances per server.")],
    *,
    ttl: Ttl = "2h",
    reason: Reason = "by hand",
    server: _Server = "",
    wait: Wait = 5.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Set other bounds for the instances of a model for a while, in place of the configured ones."""
    body = {"ttl": ttl, "reason": reason, "server": server, "min": least, "max": most}
    instruct(api_of(url, token_file), "PUT", path_of("models", model, "bounds"), body, wait, as_json=as_json)


@app.command("rollout", cls=NumberCommand)
def rollout(
    model: _Model,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Its number in the model repository.")],
    *,
    verify: Annotated[
        str,
        typer.Option("--verify", help="How long each server serves both versions before the old one goes."),
    ] = "2m",
    ttl: Ttl = "7d",
    reason: Reason = "by hand",
    server: _Server = "",
    with_ensembles: Annotated[
        bool, typer.Option("--with-ensembles", help="Also where it is a component of ensembles, which it reloads.")
    ] = False,
    wait: Wait = 60.0,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Roll out another version of a model, server by server, and back where it does not hold."""
    body: dict[str, object] = {"ttl": ttl, "reason": reason, "server": server, "version": str(version)}
    body |= {"verify_for": verify, "with_ensembles": with_ensembles}
    instruct(api_of(url, token_file), "POST", path_of("models", model, "rollout"), body, wait, as_json=as_json)


@app.command("unpin")
def unpin(model: _Model, *, url: Url = DEFAULT_URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Withdraw everything that people have fixed about a model."""
    ended = api_of(url, token_file).call("DELETE", path_of("models", model, "overrides"))
    if as_json:
        print_json(ended)
    else:
        print(f"{model}: {counted(ended['ended'], 'override')} withdrawn")

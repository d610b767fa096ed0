"""controlplane token: bearer tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config, Json
from controlplane.cli.output import clock_time, print_json
from controlplane.domain.errors import ConfigurationError, Fault

app = typer.Typer(help="Bearer tokens of the API.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Bearer tokens of the API."""


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who uses it; written down as the actor of what it asks for.")],
    *,
    scope: Annotated[str, typer.Option(help="viewer reads, operator instructs too, admin may do all.")] = "viewer",
    lifetime: Annotated[str, typer.Option("--for", help="When it runs out, such as 90d, or never.")] = "90d",
    file: Annotated[
        Path | None, typer.Option(help="File of token hashes; default: api.tokens_file of the configuration.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a token, keep its hash, print it once."""
    from controlplane.api.tokens import Scope, create_token
    from controlplane.loop.clock import wall_clock

    if scope not in tuple(Scope):
        raise _fault("--scope", scope, f"{', '.join(Scope)} are allowed")
    expires_at = None if lifetime == "never" else wall_clock() + _seconds(lifetime)
    secret = create_token(file or _file_of(config), name, Scope(scope), expires_at)
    if as_json:
        print_json({"name": name, "scope": scope, "expires_at": expires_at, "token": secret})
        return
    until = "and never runs out" if expires_at is None else f"until {clock_time(expires_at)} UTC"
    typer.echo(f"token {name} ({scope}) is good {until}; it is shown only now:", err=True)
    print(secret)


def _file_of(config: Path) -> Path:
    from controlplane.config import load_settings

    try:
        path = load_settings(config).api.tokens_file
    except ConfigurationError as error:
        raise _fault("--file", "nothing", f"a file is needed here, since {error.source} cannot be used") from None
    if path is None:
        raise _fault("--file", "nothing", f"a file is needed, here or as api.tokens_file in {config}")
    return path


def _seconds(text: str) -> float:
    from controlplane.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise _fault("--for", text, str(error)) from None


def _fault(option: str, value: str, allowed: str) -> ConfigurationError:
    return ConfigurationError("command line", (Fault(option, value, allowed),))

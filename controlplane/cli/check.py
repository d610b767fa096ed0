"""controlplane check: all faults of a configuration at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import Json
from controlplane.cli.output import counted, print_json
from controlplane.domain.errors import ConfigurationError
from controlplane.domain.fleet import Mode

if TYPE_CHECKING:
    from controlplane.decide.mig.settings import MigSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    file: Annotated[Path, typer.Argument(help="The configuration file.", metavar="FILE")], as_json: Json = False
) -> None:
    """Print every fault of a configuration, with its path, its value and what is allowed; and what is worth a note.

    Without faults also which alerts go to whom.
    """
    from controlplane.cli.alert_routes import routes, routes_table
    from controlplane.cli.tables import show
    from controlplane.config import load_settings
    from controlplane.config.environment import unheeded
    from controlplane.config.notes import notes

    try:
        settings = load_settings(file)
        _check_tokens(settings.api.tokens_file)
    except ConfigurationError as error:
        if not as_json:
            raise
        faults = [{"path": f.path, "value": f.value, "allowed": f.allowed} for f in error.faults]
        print_json({"ok": False, "file": str(file), "faults": faults})
        raise typer.Exit(2) from None
    fleet = settings.fleet
    counts = {
        "servers": len(fleet.servers),
        "workloads": len(fleet.workloads),
        "gateways": len(fleet.gateways),
        "agents": len(fleet.agents),
        "models": len(fleet.models),
    }
    told = routes(settings)
    noted = [*notes(settings), *_no_token(settings.mig), *unheeded(os.environ)]
    if as_json:
        print_json({"ok": True, "file": str(file), "faults": [], "notes": noted, "routes": told, **counts})
    else:
        print(f"{file}: ok; " + ", ".join(counted(count, kind[:-1]) for kind, count in counts.items()))
        for note in noted:
            print(f"note: {note}")
        if told:
            show(routes_table(told))


def _check_tokens(path: Path | None) -> None:
    """Raise ConfigurationError when the file of tokens cannot be used."""
    if path is not None:
        from controlplane.api.tokens import TokenFile

        TokenFile(path, lambda: 0.0).tokens()


def _no_token(mig: MigSettings | None) -> Iterator[str]:
    """A note where the agents' token cannot be read here and now: it may be there once it is needed."""
    from controlplane.collect.token_file import read_token

    if mig is None or mig.mode is not Mode.ACT:
        return
    try:
        read_token(mig.token_file)
    except ValueError as error:
        yield f"mig.{error}; until it can be, no GPU is cut"

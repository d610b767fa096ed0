"""controlplane check: all faults of a configuration at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import Json
from controlplane.cli.output import counted, print_json
from controlplane.domain.errors import ConfigurationError


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
    if as_json:
        noted = list(notes(settings))
        print_json({"ok": True, "file": str(file), "faults": [], "notes": noted, "routes": told, **counts})
    else:
        print(f"{file}: ok; " + ", ".join(counted(count, kind[:-1]) for kind, count in counts.items()))
        for note in notes(settings):
            print(f"note: {note}")
        if told:
            show(routes_table(told))


def _check_tokens(path: Path | None) -> None:
    """Raise ConfigurationError when the file of tokens cannot be used."""
    if path is not None:
        from controlplane.api.tokens import TokenFile

        TokenFile(path, lambda: 0.0).tokens()

"""controlplane run: the loop and the API in one process."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.options import DEFAULT_CONFIG, Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    *,
    config: Config = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, but send no instruction to any server.")] = False,
) -> None:
    """Watch, judge, decide and act until told to stop."""
    import asyncio

    from controlplane.cli.listen import bind
    from controlplane.cli.logs import configure
    from controlplane.cli.serve import serve
    from controlplane.config import load_settings
    from controlplane.loop.garbage import collect_rarely

    settings = load_settings(config)
    configure()
    collect_rarely()
    listening = bind(settings.api.host, settings.api.port)
    raise typer.Exit(asyncio.run(serve(settings, listening, dry_run=dry_run)))

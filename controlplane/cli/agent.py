"""controlplane agent: the GPUs of this machine as a metrics page and, where that is allowed, cut into MIG slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.domain.errors import ConfigurationError, Fault

if TYPE_CHECKING:
    from controlplane.agent.mig.routes import MigRoutes


_JOURNAL = Path("/var/lib/controlplane/mig")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("agent")(agent)


def agent(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; the page needs no token.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8901,
    timeout_s: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=60, help="Seconds after which NVML is given up; below a scrape's."),
    ] = 1.0,
    mig: Annotated[bool, typer.Option("--mig", help="Let whoever has the token cut the GPUs into MIG slices.")] = False,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File that holds the bearer token for --mig.")
    ] = None,
    journal: Annotated[
        Path, typer.Option("--journal", help="Folder that keeps what was asked for and how far it came, with --mig.")
    ] = _JOURNAL,
    copies: Annotated[
        Path | None,
        typer.Option("--copies", help="Executable that starts and drains copies of models on slices, with --mig."),
    ] = None,
    copies_timeout_s: Annotated[
        float, typer.Option("--copies-timeout", min=1, max=900, help="Seconds after which it is killed.")
    ] = 300.0,
    copies_at_once: Annotated[
        int, typer.Option("--copies-at-once", min=1, max=64, help="So many of it run at the same time, on any slices.")
    ] = 4,
) -> None:
    """Serve the GPUs of this machine as a metrics page until told to stop; for GPU nodes without `run`."""
    import asyncio

    from controlplane.agent.server import serve
    from controlplane.cli.listen import bind
    from controlplane.cli.logs import configure

    configure()
    routes = _mig_routes(token_file, journal, copies, copies_timeout_s, copies_at_once, mig=mig)
    asyncio.run(serve(bind(host, port, "choose another --host or --port"), timeout_s, routes))


def _mig_routes(
    token_file: Path | None,
    journal: Path,
    copies: Path | None,
    copies_timeout_s: float,
    copies_at_once: int,
    *,
    mig: bool,
) -> MigRoutes | None:
    """Both or neither of --mig and --token-file: nobody is to think that a half of it protects or allows anything."""
    if not mig and copies is not None:
        raise ConfigurationError("command line", (Fault("--copies", str(copies), "only with --mig"),))
    if not mig and token_file is None:
        return None
    if not mig or token_file is None:
        given, lacks = ("--mig", "--token-file") if mig else ("--token-file", "--mig")
        raise ConfigurationError("command line", (Fault(given, f"alone, without {lacks},", "both or neither"),))
    from controlplane.agent.mig.routes import MigRoutes
    from controlplane.collect.token_file import read_token
    from controlplane.loop.clock import wall_clock

    try:
        read_token(str(token_file))
    except ValueError as error:
        fault = Fault("--token-file", str(token_file), "a readable file that holds one token", str(error))
        raise ConfigurationError("command line", (fault,)) from None
    runner = None
    if copies is not None:
        from controlplane.agent.mig.copies import Copies
        from controlplane.agent.mig.trust import untrusted

        if why := untrusted(copies):
            allowed = "the absolute path of a file that may be executed, and that only its owner may write"
            raise ConfigurationError("command line", (Fault("--copies", str(copies), allowed, f"--copies: {why}"),))
        runner = Copies(copies, copies_timeout_s, journal / "copies", copies_at_once)
    return MigRoutes(token_file, journal, wall_clock, copies=runner)

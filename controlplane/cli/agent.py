"""controlplane agent: the GPUs of this machine as a metrics page."""

from __future__ import annotations

from typing import Annotated

import typer


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
) -> None:
    """Serve the GPUs of this machine as a metrics page until told to stop; for GPU nodes without `run`."""
    import asyncio

    from controlplane.agent.server import serve
    from controlplane.cli.listen import bind
    from controlplane.cli.logs import configure

    configure()
    asyncio.run(serve(bind(host, port, "choose another --host or --port"), timeout_s))

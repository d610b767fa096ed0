"""controlplane demo: a real Triton on this machine, load, and the control plane scaling it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    *,
    duration: Annotated[float, typer.Option(help="Seconds into which the day is compressed.")] = 180.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0: a free one.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the run's files; default: a new one in out/.")] = None,
    as_json: Json = False,
) -> None:
    """Run a compressed day of load against a real Triton and scale it."""
    from controlplane.demo.day import DemoOptions, run_demo

    raise typer.Exit(run_demo(DemoOptions(duration_s=duration, json=as_json, keep=keep, port=port, out=out)))
